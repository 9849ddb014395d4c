"""Which lines of a diff a reviewer is told of because they made writes durable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.durability import less_durable


def diff(*lines: str, path: str = "service/state.py") -> str:
    """Of one file; each line begins with its sign."""
    return "\n".join(
        [f"diff --git a/{path} b/{path}", f"--- a/{path}", f"+++ b/{path}", "@@ -1,9 +1,9 @@", *lines, ""]
    )


@pytest.mark.parametrize(
    ("removed", "word"),
    [
        ("        os.fdatasync(self.file)", "fdatasync"),
        ("    os.fsync (descriptor)", "fsync"),
        ("    libc.sync_file_range(fd, 0, 0, 7)", "sync_file_range"),
        ("            self.events.sync()", "sync"),
        ("    log.flush()", "flush"),
        ("    fd = os.open(path, os.O_WRONLY | os.O_DSYNC)", "O_DSYNC"),
        ('    db.execute("PRAGMA synchronous = FULL")', "synchronous = FULL"),
        ('    db.execute("pragma synchronous(2)")', "synchronous(2"),
    ],
)
def test_what_made_writes_durable_and_goes_is_named(removed: str, word: str) -> None:
    assert less_durable(diff(f"-{removed}", "+    return")) == [
        f"service/state.py no longer says {word} where it did"
    ]


@pytest.mark.parametrize(
    ("added", "word"),
    [
        ('    db.execute("PRAGMA synchronous = OFF")', "synchronous = OFF"),
        ('    db.execute("PRAGMA synchronous=0")', "synchronous=0"),
        ("    db.execute('PRAGMA journal_mode = MEMORY')", "journal_mode = MEMORY"),
        ("    SET synchronous_commit = off", "synchronous_commit = off"),
    ],
)
def test_what_makes_writes_loose_and_comes_is_named(added: str, word: str) -> None:
    assert less_durable(diff(f"+{added}")) == [f"service/state.py now says {word}"]


def test_a_lowered_level_is_told_from_both_sides() -> None:
    both = diff(
        '-    db.execute("PRAGMA synchronous = FULL")', '+    db.execute("PRAGMA synchronous = NORMAL")'
    )
    assert less_durable(both) == [
        "service/state.py no longer says synchronous = FULL where it did",
        "service/state.py now says synchronous = NORMAL",
    ]


def test_a_line_that_moved_or_came_or_stayed_is_none() -> None:
    deeper = diff("-    os.fsync(fd)", "+        os.fsync(fd)")
    assert less_durable(deeper) == ["service/state.py no longer says fsync where it did"], "it may run seldom"
    assert less_durable(diff("-    os.fsync(fd)", "+    x = 1", "+    os.fsync(fd)")) == []
    assert less_durable(diff("+    os.fsync(fd)")) == []
    assert less_durable(diff("     os.fsync(fd)", "-    x = 1", "+    x = 2")) == []
    assert less_durable(diff("-    synchronised = 1", "-    resync(fd)", "-    syncing()")) == []
    moved = diff("-    os.fsync(fd)") + diff("+    os.fsync(fd)", path="service/other.py")
    assert less_durable(moved) == ["service/state.py no longer says fsync where it did"], (
        "elsewhere it may never run"
    )


def test_a_line_that_looks_like_a_header_is_a_line() -> None:
    assert less_durable(diff("--- a/x", "-    os.fsync(fd)")) == [
        "service/state.py no longer says fsync where it did"
    ]
    assert less_durable("--- os.fsync(fd)\n+++ synchronous = OFF\n") == []


@given(st.lists(st.sampled_from(["os.fsync(fd)", "log.flush()", "x = 1"]), max_size=6), st.randoms())
def test_the_same_lines_in_another_order_are_none(lines: list[str], dice: object) -> None:
    again = list(lines)
    dice.shuffle(again)  # type: ignore[attr-defined]
    assert less_durable(diff(*(f"-{line}" for line in lines), *(f"+{line}" for line in again))) == []


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert isinstance(less_durable(diff(f"-{text}")), list)
