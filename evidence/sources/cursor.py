"""The durable cursor: rows and position move in one transaction, so every line counts exactly once,
whatever is killed.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sqlmodel import Session, col, select, update

from evidence.canonical import utcnow
from evidence.redact import Redactor
from evidence.sources.tail import Line, Position, continues
from evidence.tables import AsideRow, CursorRow

SourceKind = Literal["events", "gateway"]
_HEAD = 2048


class CursorMoved(Exception):
    """Another process read this chunk in the meantime."""


@dataclass(frozen=True)
class Source:
    kind: SourceKind
    path: Path

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.path}"


@dataclass
class Counts:
    """What one pass saw. `aside` holds (source, reason) of every line that was kept aside."""

    lines: int = 0
    new: int = 0
    duplicates: int = 0
    aside: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def position_of(row: CursorRow | None, path: Path) -> Position:
    if row is None:
        return Position(path=str(path))
    return Position(
        row.path, row.inode, row.offset, row.prefix_len, row.prefix_sha, row.tail_len, row.tail_sha
    )


def find_cursor(session: Session, source: Source) -> CursorRow:
    """The source's cursor.

    A log seen for the first time that continues a known one (a cloned state) starts where that stands.
    """
    row = session.get(CursorRow, source.key)
    if row is None:
        row = CursorRow(key=source.key, kind=source.kind, path=str(source.path), inode="", updated="")
        session.add(row)
    if row.offset == 0:
        _adopt(session, source, row)
    session.flush()
    return row


def _adopt(session: Session, source: Source, row: CursorRow) -> None:
    known = select(CursorRow).where(CursorRow.kind == source.kind, col(CursorRow.offset) > 0)
    for other in session.exec(known.order_by(col(CursorRow.offset).desc())):
        if _is_continuation(source.path, position_of(other, source.path)):
            for name in ("inode", "offset", "prefix_len", "prefix_sha", "tail_len", "tail_sha", "process_id"):
                setattr(row, name, getattr(other, name))
            return


def _is_continuation(path: Path, position: Position) -> bool:
    try:
        with path.open("rb") as file:
            return continues(file, position)
    except OSError:
        return False


def move(session: Session, source: Source, before: Position, after: Position, process_id: str | None) -> None:
    """Take the chunk between two positions for this transaction.

    Raises CursorMoved when it was taken already.
    """
    values = {
        "inode": after.inode,
        "offset": after.offset,
        "prefix_len": after.prefix_len,
        "prefix_sha": after.prefix_sha,
        "tail_len": after.tail_len,
        "tail_sha": after.tail_sha,
        "process_id": process_id,
        "updated": utcnow().isoformat(),
    }
    statement = (
        update(CursorRow)
        .where(col(CursorRow.key) == source.key, col(CursorRow.offset) == before.offset)
        .where(col(CursorRow.tail_sha) == before.tail_sha)
        .values(**values)
    )
    if session.connection().execute(statement).rowcount != 1:
        raise CursorMoved(source.key)


def keep_aside(
    session: Session, source: Source, line: Line, reason: str, redactor: Redactor, counts: Counts
) -> None:
    """Store the head of an unusable line with its reason."""
    text = line.data[:_HEAD].decode("utf-8", "replace").replace("\x00", "�")
    reason = redactor.text(reason)[:300].replace("\x00", "�")
    session.add(
        AsideRow(
            source=source.key,
            offset=line.offset,
            length=line.length,
            reason=reason,
            head=redactor.text(text),
            at=utcnow().isoformat(),
        )
    )
    counts.aside.append((source.key, reason))
