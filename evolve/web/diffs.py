"""A diff as people read it: files, and in each the old text beside the new. For display alone; what counts is the
commit's tree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from typing import Literal

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, Line, PatchedFile, PatchSet

from evolve.web.highlight import Piece, highlight

MAX_TEXT = 1_000_000
"""Characters of a diff that are parsed at all."""
MAX_COLOURED = 100_000
"""Characters of a diff beyond which it goes without colours, for colouring takes its time."""
MAX_LINES = 3000
MAX_WIDTH = 400
OPEN_LINES = 120

Kind = Literal["added", "removed", "same", "note"]


@dataclass(frozen=True)
class DiffLine:
    kind: Kind
    number: int | None
    pieces: tuple[Piece, ...]
    cut: int = 0
    """Characters beyond the cap; the raw diff has them."""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True)
class Row:
    """What stands side by side. A context line stands on both sides; a change may have nothing to face."""

    old: DiffLine | None
    new: DiffLine | None


@dataclass(frozen=True)
class DiffHunk:
    title: str
    blocks: tuple[tuple[Row, ...], ...]
    """Runs of context and runs of change, in turn: a narrow screen shows a run's old lines, then its new ones."""


@dataclass(frozen=True)
class DiffFile:
    path: str
    what: str
    added: int
    removed: int
    hunks: tuple[DiffHunk, ...]
    hidden: int
    """Lines beyond the cap; the raw diff has them."""
    cut: int
    """Lines of which only the beginning is shown."""
    changes: int = 0
    """How often the file changed lately; 0 when it is not hot."""


@dataclass(frozen=True)
class DiffView:
    files: tuple[DiffFile, ...]
    warning: str
    raw: str
    """Shown instead of files when the text could not be read as a diff."""

    @property
    def starts_open(self) -> bool:
        """Short enough to be read at once; else a reader opens one file after the other."""
        rows = sum(len(block) for file in self.files for hunk in file.hunks for block in hunk.blocks)
        return rows <= OPEN_LINES

    def marked(self, hot: dict[str, int]) -> "DiffView":
        """With the files marked that changed often: path to number of commits."""
        files = tuple(replace(file, changes=hot.get(file.path, 0)) for file in self.files)
        return replace(self, files=files)


def read_diff(text: str) -> DiffView:
    """Never raises: what can't be read is shown raw, with a warning."""
    if not text.strip():
        return DiffView((), "", "")
    if len(text) > MAX_TEXT:
        return DiffView((), f"{len(text):,} characters are too many to lay out; here is the beginning.", text)
    try:
        patch = PatchSet(text)
    except (UnidiffParseError, ValueError, IndexError) as error:
        return DiffView(
            (), f"This can't be read as a diff ({type(error).__name__}); here it is as it is.", text
        )
    files, budget = [], MAX_LINES
    for patched in patch:
        file, budget = _file(patched, budget, coloured=len(text) <= MAX_COLOURED)
        files.append(file)
    warning = ""
    if "GIT binary patch" in text or "\nBinary files " in text:
        warning = "It changes binary files, which no diff can show. Read the commit."
    if not files:
        return DiffView((), "There is text here, but no file in it; here it is as it is.", text)
    return DiffView(tuple(files), warning, "")


def _file(patched: PatchedFile, budget: int, *, coloured: bool) -> tuple[DiffFile, int]:
    hunks, hidden, cut = [], 0, 0
    for hunk in patched:
        lines = list(hunk)
        kept = lines[: max(budget, 0)]
        hidden += len(lines) - len(kept)
        budget -= len(kept)
        cut += sum(len(_text(line)) > MAX_WIDTH for line in kept)
        if kept:
            hunks.append(DiffHunk(_title(hunk), tuple(_blocks(kept, patched.path if coloured else ""))))
    what = "changed"
    if patched.is_added_file:
        what = "new"
    elif patched.is_removed_file:
        what = "removed"
    elif patched.is_rename:
        what = f"renamed from {patched.source_file}"
    file = DiffFile(
        path=patched.path,
        what=what,
        added=patched.added,
        removed=patched.removed,
        hunks=tuple(hunks),
        hidden=hidden,
        cut=cut,
    )
    return file, budget


def _title(hunk: Hunk) -> str:
    lines = f"lines {hunk.source_start}–{hunk.source_start + max(hunk.source_length - 1, 0)}"
    return f"{lines}  {hunk.section_header}".rstrip()


def _blocks(lines: Sequence[Line], path: str) -> Iterator[tuple[Row, ...]]:
    old = iter(_side([line for line in lines if line.line_type in (" ", "-")], path, "source_line_no"))
    new = iter(_side([line for line in lines if line.line_type in (" ", "+")], path, "target_line_no"))
    for kind, run in groupby(lines, key=lambda line: _FAMILY.get(line.line_type, "note")):
        if kind == "note":
            yield tuple(Row(None, DiffLine("note", None, (Piece("", _text(line)),))) for line in run)
        elif kind == "same":
            yield tuple(Row(next(old), next(new)) for _ in run)
        else:
            marks = [line.line_type for line in run]
            left = [next(old) for mark in marks if mark == "-"]
            right = [next(new) for mark in marks if mark == "+"]
            yield tuple(Row(one, other) for one, other in zip_longest(left, right))


_FAMILY = {" ": "same", "-": "change", "+": "change"}
_KINDS: dict[str, Kind] = {"+": "added", "-": "removed", " ": "same"}


def _side(lines: Sequence[Line], path: str, number: str) -> list[DiffLine]:
    texts = [_text(line) for line in lines]
    coloured = highlight(path, [text[:MAX_WIDTH] for text in texts])
    return [
        DiffLine(_KINDS[line.line_type], getattr(line, number), pieces, max(len(text) - MAX_WIDTH, 0))
        for line, text, pieces in zip(lines, texts, coloured, strict=True)
    ]


def _text(line: Line) -> str:
    return str(line.value).rstrip("\n")
