"""Diffs as people read them, the port, and the small words of the templates."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_world import DIFF

from evolve.errors import BadInput, Broken
from evolve.web.diffs import MAX_LINES, read_diff
from evolve.web.render import e_chart, excerpt, span, tone, usd
from evolve.web.server import bind


def test_a_diff_is_read_by_file_hunk_and_line() -> None:
    view = read_diff(DIFF)
    [file] = view.files
    assert (file.path, file.what, file.added, file.removed) == ("harness/dispatch.py", "changed", 5, 7)
    kinds = [line.kind for line in file.hunks[0].lines]
    assert (kinds.count("same"), kinds.count("removed"), kinds.count("added")) == (2, 7, 5)
    assert view.warning == ""


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
    assert (file.what, file.hidden, file.starts_open) == ("new", 50, False)


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
