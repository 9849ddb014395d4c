"""A diff as people read it: files, hunks, numbered lines. For display alone; what counts is the commit's
tree."""

from dataclasses import dataclass
from typing import Literal

from unidiff.errors import UnidiffParseError
from unidiff.patch import Line, PatchedFile, PatchSet

MAX_LINES = 3000
OPEN_LINES = 250

Kind = Literal["added", "removed", "same", "note"]


@dataclass(frozen=True)
class DiffLine:
    kind: Kind
    old: int | None
    new: int | None
    text: str

    @property
    def sign(self) -> str:
        return {"added": "+", "removed": "−", "same": "", "note": ""}[self.kind]


@dataclass(frozen=True)
class DiffHunk:
    title: str
    lines: tuple[DiffLine, ...]


@dataclass(frozen=True)
class DiffFile:
    path: str
    what: str
    added: int
    removed: int
    hunks: tuple[DiffHunk, ...]
    hidden: int
    """Lines beyond the cap; the raw diff has them."""

    @property
    def starts_open(self) -> bool:
        return sum(len(hunk.lines) for hunk in self.hunks) <= OPEN_LINES


@dataclass(frozen=True)
class DiffView:
    files: tuple[DiffFile, ...]
    warning: str
    raw: str
    """Shown instead of files when the text could not be read as a diff."""


def read_diff(text: str) -> DiffView:
    """Never raises: what can't be read is shown raw, with a warning."""
    if not text.strip():
        return DiffView((), "", "")
    try:
        patch = PatchSet(text)
    except (UnidiffParseError, ValueError, IndexError) as error:
        return DiffView(
            (), f"This can't be read as a diff ({type(error).__name__}); here it is as it is.", text
        )
    files, budget = [], MAX_LINES
    for patched in patch:
        file, budget = _file(patched, budget)
        files.append(file)
    warning = ""
    if "GIT binary patch" in text or "\nBinary files " in text:
        warning = "It changes binary files, which no diff can show. Read the commit."
    if not files:
        return DiffView((), "There is text here, but no file in it; here it is as it is.", text)
    return DiffView(tuple(files), warning, "")


def _file(patched: PatchedFile, budget: int) -> tuple[DiffFile, int]:
    hunks, hidden = [], 0
    for hunk in patched:
        lines = [_line(line) for line in hunk]
        kept = lines[: max(budget, 0)]
        hidden += len(lines) - len(kept)
        budget -= len(kept)
        title = f"lines {hunk.source_start}–{hunk.source_start + max(hunk.source_length - 1, 0)}"
        if kept:
            hunks.append(DiffHunk(f"{title}  {hunk.section_header}".rstrip(), tuple(kept)))
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
    )
    return file, budget


def _line(line: Line) -> DiffLine:
    mark = line.line_type
    kinds: dict[str, Kind] = {"+": "added", "-": "removed", " ": "same"}
    return DiffLine(
        kind=kinds.get(mark, "note"),
        old=line.source_line_no,
        new=line.target_line_no,
        text=line.value.rstrip("\n"),
    )
