"""Hostile text: nothing that hides, reorders or commands reaches a screen."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.sanitize import for_page, for_terminal, one_line

HOSTILE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
any_text = st.text(st.characters(codec=None), max_size=80)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1bcreset", "reset"),
        ("a\rb", "a\\x0db"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("blank\u3164", "blank\\u3164"),
        ("\ud800", "\\ud800"),
        ("naïve ☂ 漢字 🙂", "naïve ☂ 漢字 🙂"),
    ],
)
def test_terminal(raw: str, shown: str) -> None:
    assert for_terminal(raw) == shown


def test_page_shows_what_the_terminal_drops() -> None:
    assert for_page("\x1b[8mhidden\u2066") == "\\x1b[8mhidden\\u2066"
    assert for_page("two\nlines\tand a tab") == "two\nlines\tand a tab"


def test_one_line_is_one_line() -> None:
    assert one_line("a\n\n b\r\nc\u2028d") == "a b c d"


@pytest.mark.parametrize("clean", [for_page, for_terminal, one_line])
def test_long_text_is_capped_and_says_so(clean: object) -> None:
    shown = clean("x" * 1000, 100)  # type: ignore[operator]
    assert len(shown) < 140
    assert "more characters" in shown


@given(any_text)
def test_nothing_hostile_is_left(text: str) -> None:
    for clean in (for_page, for_terminal, one_line):
        shown = clean(text)
        assert all(c in "\n\t" or unicodedata.category(c) not in HOSTILE for c in shown)
        shown.encode()
    assert "\n" not in one_line(text)
    assert "\t" not in one_line(text)


@given(any_text)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert for_page(for_page(text)) == for_page(text)
    assert for_terminal(for_terminal(text)) == for_terminal(text)


def test_an_escape_without_its_end_takes_nothing_along() -> None:
    assert for_terminal("fix\n# \x1b]0;\neval(text)\n# \x07\n") == "fix\n# 0;\neval(text)\n# \\x07\n"
