"""Diffs as people read them, the port, and the small words of the templates."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_world import DIFF

from evolve.errors import BadInput, Broken
from evolve.web.diffs import MAX_LINES, MAX_TEXT, MAX_WIDTH, read_diff
from evolve.web.highlight import LEXERS, highlight
from evolve.web.render import e_chart, excerpt, span, tone, usd
from evolve.web.server import bind


def test_a_diff_stands_side_by_side() -> None:
    view = read_diff(DIFF)
    [file] = view.files
    assert (file.path, file.what, file.added, file.removed) == ("harness/dispatch.py", "changed", 5, 7)
    context, change = file.hunks[0].blocks
    assert {(row.old.kind, row.new.kind) for row in context if row.old and row.new} == {("same", "same")}
    assert [row.old.text if row.old else None for row in change][:2] == [
        "    results = []",
        "    for finished in asyncio.as_completed(tasks):",
    ]
    assert [row.new.text if row.new else None for row in change] == [
        "    await asyncio.wait(tasks)",
        "    return [",
        "        ToolResult(call_id=call.id, content=task.result())",
        "        for task, call in tasks.items()",
        "    ]",
        None,
        None,
    ]
    assert [(row.old.number, row.new.number) for row in context if row.old and row.new] == [
        (41, 41),
        (42, 42),
    ]
    assert view.warning == ""
    assert [file.changes for file in view.marked({"harness/dispatch.py": 7, "x": 9}).files] == [7]


def test_colour_never_changes_a_line() -> None:
    lines = ["def f(x):", "    return 'a'  # why", "", "\x0b\r odd \x85 \u2028 \x00", '    """open', "\tstr"]
    coloured = highlight("a.py", lines)
    assert ["".join(piece.text for piece in pieces) for pieces in coloured] == lines
    assert ("hl-keyword", "def") in coloured[0]
    assert any(look == "hl-comment" and "# why" in text for look, text in coloured[1])
    for path in ("a.unknown", "Makefile", ""):
        assert highlight(path, lines) == [(("", line),) for line in lines]


@given(
    st.lists(st.text(st.characters(exclude_characters="\n"), max_size=40), max_size=8),
    st.sampled_from(sorted(LEXERS)),
)
def test_no_source_breaks_the_colours(lines: list[str], ending: str) -> None:
    coloured = highlight(f"a{ending}", lines)
    assert ["".join(piece.text for piece in pieces) for pieces in coloured] == lines


def test_long_lines_are_cut_and_say_so() -> None:
    text = f"--- /dev/null\n+++ b/big.py\n@@ -0,0 +1,2 @@\n+{'x' * (MAX_WIDTH + 7)}\n+y\n"
    [file] = read_diff(text).files
    [[first, second]] = file.hunks[0].blocks
    assert first.new is not None
    assert second.new is not None
    assert (file.cut, first.new.cut, len(first.new.text), second.new.cut) == (1, 7, MAX_WIDTH, 0)


def test_what_is_too_much_is_not_laid_out() -> None:
    view = read_diff(DIFF + "+x\n" * (MAX_TEXT // 3))
    assert view.files == ()
    assert "too many" in view.warning


def test_what_is_no_diff_is_shown_as_it_is() -> None:
    for text in ("just words\n", DIFF.replace("@@ -41,9", "@@ -41,99")):
        view = read_diff(text)
        assert view.files == ()
        assert view.raw == text
        assert view.warning
    assert read_diff("") == read_diff("\n")


def test_binary_changes_are_called_out() -> None:
    text = "diff --git a/x.bin b/x.bin\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZQzWMO3l\n\n"
    assert "binary" in read_diff(DIFF + text).warning


def test_long_diffs_are_capped_and_say_so() -> None:
    lines = "".join(f"+line {n}\n" for n in range(MAX_LINES + 50))
    text = f"--- /dev/null\n+++ b/big.py\n@@ -0,0 +1,{MAX_LINES + 50} @@\n{lines}"
    [file] = read_diff(text).files
    assert (file.what, file.hidden, read_diff(text).starts_open) == ("new", 50, False)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    for tried in (text, DIFF + text, DIFF.replace("results = []", text)):
        view = read_diff(tried)
        assert view.files or view.raw or not tried.strip()


def test_a_taken_port_is_one_line() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Broken, match=rf"port {port} is in use"):
            bind("127.0.0.1", port)


def test_only_loopback_is_bound() -> None:
    with pytest.raises(BadInput, match="loopback only"):
        bind("0.0.0.0", 0)
    with pytest.raises((Broken, socket.gaierror)):
        bind("192.0.2.1", 0)


def test_small_words() -> None:
    assert [usd(n) for n in (0, 900, 12_400, 3_000_000_000)] == ["$0", "$0.0009", "$0.01", "$3,000.00"]
    assert [span(n) for n in (None, 0.25, 45, 600, 8000, 400_000)] == [
        "–",
        "0.2 s",
        "45 s",
        "10 min",
        "2.2 h",
        "5 days",
    ]
    assert [tone(word) for word in ("converged", "CHEATED", "needs_work", "open", None)] == [
        "good",
        "bad",
        "warn",
        "plain",
        "plain",
    ]
    assert excerpt("a  b\n" * 200, 10) == "a b a b a…"


def test_the_chart_holds_any_path() -> None:
    assert e_chart([], 20.0) is None
    for path in ([0.0], [1e300, 1.0], [1.0] * 500):
        chart = e_chart(path, 20.0)
        assert chart is not None
        ys = [float(point.split(",")[1]) for point in chart.points.split()]
        assert all(0 <= y <= 160 for y in [*ys, chart.threshold_y, chart.one_y])


def test_a_line_without_a_mark_is_a_note() -> None:
    [file] = read_diff(DIFF + "\n").files
    assert [row.new.kind for row in file.hunks[0].blocks[-1] if row.new] == ["note"]


def test_a_huge_diff_goes_without_colours() -> None:
    def looks(lines: int) -> set[str]:
        text = f"--- a/x.py\n+++ b/x.py\n@@ -0,0 +1,{lines} @@\n" + f"+import {'x' * 90}\n" * lines
        blocks = [block for file in read_diff(text).files for hunk in file.hunks for block in hunk.blocks]
        return {piece.look for block in blocks for row in block if row.new for piece in row.new.pieces}

    assert looks(900) == {"hl-keyword", ""}
    assert looks(1100) == {""}
