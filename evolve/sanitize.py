"""Hostile text, made safe to look at. Whatever an agent, a model or a coding CLI wrote goes through here
before a person sees it; who wrote it is not asked.

Two screens, two needs. On the page a reviewer must see *everything* that is there, so characters that would
hide or reorder text (the bidirectional overrides of "Trojan Source", zero-width letters, escapes) are written
out. In a terminal the escape sequences of an honest log are only noise, so they are dropped, and what is left
of the kind is written out too. Neither makes HTML or rich markup safe: templates escape, and the CLI prints
`rich.text.Text`.
"""

import re
import unicodedata

PAGE_CAP = 20_000
LINE_CAP = 400

_ANSI = re.compile(
    r"""
    \x1b\[[0-?]*[ -/]*[@-~]                      # CSI: colours, cursor
  | \x1b[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)    # OSC, DCS, SOS, PM, APC: titles, links, clipboard
  | \x1b[ -/]*[0-~]                              # two-character escapes
  | \x9b[0-?]*[ -/]*[@-~]                        # CSI as one C1 character
    """,
    re.VERBOSE,
)
# Cc controls, Cf formats (bidi, zero width, tags), Cs lone surrogates, Co private use, Zl and Zp separators.
_HIDING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_NOT_PLAIN = re.compile(r"[^\x20-\x7e\n\t]")


def for_page(text: str, cap: int = PAGE_CAP) -> str:
    """For the page: every character that hides, reorders or controls is written out as `\\u202e`; newlines
    and tabs stay."""
    return _write_out(_capped(text, cap))


def for_terminal(text: str, cap: int = PAGE_CAP) -> str:
    """For a terminal, several lines: escape sequences dropped, other hiding characters written out,
    capped."""
    return _write_out(_capped(_ANSI.sub("", text[: cap * 4]), cap))


def one_line(text: str, cap: int = LINE_CAP) -> str:
    """For a table cell or a log line: like `for_terminal`, with all white space made single spaces."""
    return for_terminal(" ".join(_ANSI.sub("", text[: cap * 4]).split()), cap)


def _capped(text: str, cap: int) -> str:
    if len(text) <= cap:
        return text
    return f"{text[:cap]} … [{len(text) - cap:,} more characters]"


def _write_out(text: str) -> str:
    return _NOT_PLAIN.sub(lambda found: _shown(found[0]), text)


def _shown(character: str) -> str:
    if unicodedata.category(character) in _HIDING or character in _BLANK_LETTERS or _selector(character):
        code = ord(character)
        if code < 0x100:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character


def _selector(character: str) -> bool:
    """Variation selectors are marks, yet can carry hidden bytes. U+FE0F, which only asks for emoji form, is
    left alone."""
    code = ord(character)
    return 0xFE00 <= code <= 0xFE0E or 0xE0100 <= code <= 0xE01EF
