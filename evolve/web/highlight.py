"""Source text as coloured pieces. Colour is a help, never a claim: whatever it does, the pieces of a line make the
line."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from pygments.lexer import Lexer
from pygments.lexers.configs import TOMLLexer
from pygments.lexers.data import JsonLexer, YamlLexer
from pygments.lexers.markup import MarkdownLexer
from pygments.lexers.python import PythonLexer
from pygments.lexers.shell import BashLexer
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType

LEXERS: dict[str, type[Lexer]] = {
    ".py": PythonLexer,
    ".pyi": PythonLexer,
    ".toml": TOMLLexer,
    ".json": JsonLexer,
    ".yaml": YamlLexer,
    ".yml": YamlLexer,
    ".md": MarkdownLexer,
    ".sh": BashLexer,
}
"""These few alone: the file's name is the candidate's to choose, and so must not choose among hundreds."""

LOOKS: tuple[tuple[_TokenType, str], ...] = (
    (Comment, "hl-comment"),
    (String.Doc, "hl-comment"),
    (String, "hl-string"),
    (Number, "hl-number"),
    (Keyword, "hl-keyword"),
    (Name.Function, "hl-name"),
    (Name.Class, "hl-name"),
    (Name.Decorator, "hl-name"),
    (Name.Tag, "hl-keyword"),
)


class Piece(NamedTuple):
    look: str
    """A class of the style sheet; empty for plain text."""
    text: str


def highlight(path: str, lines: Sequence[str]) -> list[tuple[Piece, ...]]:
    """One tuple of pieces a line, which together are exactly the line. Lines hold no newline."""
    lexer = LEXERS.get(PurePosixPath(path).suffix.lower())
    plain: list[tuple[Piece, ...]] = [(Piece("", line),) for line in lines]
    if lexer is None:
        return plain
    found: list[list[Piece]] = [[]]
    # Not `get_tokens`: that strips and normalises what it is given.
    for _, kind, value in lexer().get_tokens_unprocessed("\n".join(lines)):
        look = next((look for type_, look in LOOKS if kind in type_), "")
        first, *rest = value.split("\n")
        _add(found[-1], look, first)
        for text in rest:
            found.append([])
            _add(found[-1], look, text)
    coloured = [tuple(pieces) for pieces in found]
    same = ["".join(piece.text for piece in pieces) for pieces in coloured] == list(lines)
    return coloured if same else plain


def _add(pieces: list[Piece], look: str, text: str) -> None:
    if pieces and pieces[-1].look == look:
        pieces[-1] = Piece(look, pieces[-1].text + text)
    elif text:
        pieces.append(Piece(look, text))
