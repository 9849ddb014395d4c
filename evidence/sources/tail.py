"""Reads append-only line files so that every complete line is delivered exactly once.

A cursor remembers the byte offset and two hashes of what lies before it (the file's beginning, and the
last bytes read).
They, rather than the name or the inode alone, say whether a file is still the one that was read: so a
renamed log, one that was
copied and truncated, and the clone of a state directory are each recognised, and are read on from the
right place.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINE = 8 << 20
CHUNK_BYTES = 1 << 20
CHUNK_LINES = 500
_PROBE = 4096


@dataclass(frozen=True)
class Position:
    """How far a file was read, and what was there."""

    path: str
    inode: str = ""
    offset: int = 0
    prefix_len: int = 0
    prefix_sha: str = ""
    tail_len: int = 0
    tail_sha: str = ""


@dataclass(frozen=True)
class Line:
    offset: int
    length: int
    data: bytes
    """The whole line, or only its beginning when it is longer than MAX_LINE."""
    oversized: bool = False


@dataclass(frozen=True)
class Chunk:
    """Some complete lines of one file and the position after them."""

    path: Path
    lines: tuple[Line, ...]
    after: Position


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _inode(file: BinaryIO) -> str:
    stat = os.fstat(file.fileno())
    return f"{stat.st_dev}:{stat.st_ino}"


def continues(file: BinaryIO, position: Position) -> bool:
    """Is what lies before the position in this file what was read there?"""
    if os.fstat(file.fileno()).st_size < position.offset:
        return False
    if position.offset == 0:
        return True
    prefix = _read_at(file, 0, position.prefix_len)
    tail = _read_at(file, position.offset - position.tail_len, position.tail_len)
    return _sha(prefix) == position.prefix_sha and _sha(tail) == position.tail_sha


def _skip_line(file: BinaryIO, end: int) -> int | None:
    """The end of an oversized line, read on from `end`; None while it is incomplete. Constant memory."""
    while block := file.read(CHUNK_BYTES):
        newline = block.find(b"\n")
        if newline >= 0:
            return end + newline + 1
        end += len(block)
    return None


def _next_line(file: BinaryIO, start: int) -> Line | None:
    """The complete line at `start`, where the file stands already."""
    data = file.readline(MAX_LINE + 1)
    if data.endswith(b"\n"):
        return Line(start, len(data), data[:-1])
    if len(data) <= MAX_LINE:
        return None  # torn: the writer has not finished this line
    end = _skip_line(file, start + len(data))
    if end is None:
        return None
    file.seek(end)
    return Line(start, end - start, data[:_PROBE], oversized=True)


class _Reader:
    """Hashes what it has read from memory, since the file may be truncated behind its back."""

    def __init__(self, file: BinaryIO, position: Position) -> None:
        self.file, self.position = file, position
        self.prefix = _read_at(file, 0, position.prefix_len)
        self.tail = _read_at(file, position.offset - position.tail_len, position.tail_len)
        self.inode = _inode(file)
        file.seek(position.offset)

    def chunk(self) -> tuple[Line, ...]:
        lines: list[Line] = []
        start = offset = self.position.offset
        while len(lines) < CHUNK_LINES and offset - start < CHUNK_BYTES:
            line = _next_line(self.file, offset)
            if line is None:
                break
            lines.append(line)
            offset += line.length
            self._remember(line)
        if lines:
            self.position = Position(
                self.position.path,
                self.inode,
                offset,
                len(self.prefix),
                _sha(self.prefix),
                len(self.tail),
                _sha(self.tail),
            )
        return tuple(lines)

    def _remember(self, line: Line) -> None:
        if line.oversized:
            self.tail = _read_at(self.file, line.offset + line.length - _PROBE, _PROBE)
        else:
            self.tail = (self.tail + line.data[-_PROBE:] + b"\n")[-_PROBE:]
        if len(self.prefix) < _PROBE:
            self.prefix = (self.prefix + line.data + b"\n")[:_PROBE]


def _chunks_of(path: Path, position: Position) -> Iterator[Chunk]:
    with path.open("rb") as file:
        if not continues(file, position):
            return  # rotated since it was planned: the next pass sees it
        reader = _Reader(file, position)
        while lines := reader.chunk():
            yield Chunk(path, lines, reader.position)


def _siblings(path: Path) -> list[Path]:
    """Other files of the same log, oldest first: `events.jsonl.1`, `events.jsonl-20260101`, …"""
    found = [
        other
        for other in path.parent.glob(f"{path.name}[.-]*")
        if other.is_file() and not other.is_symlink() and other.suffix not in (".gz", ".xz", ".zst", ".bz2")
    ]
    return sorted(found, key=_age)


def _age(path: Path) -> tuple[int, int, str]:
    """Sorts older files first; of the same moment, `.2` before `.1` but `-20260101` before `-20260102`."""
    number = path.suffix[1:]
    counted = -int(number) if number.isascii() and number.isdigit() and len(number) < 4 else 0
    return path.stat().st_mtime_ns, counted, path.name


@dataclass(frozen=True)
class Plan:
    """Which files to read, in order, each from where.

    `gap` says when lines may have been lost to rotation.
    """

    steps: tuple[tuple[Path, Position], ...]
    gap: str = ""


def plan(path: Path, position: Position) -> Plan:
    """What must be read to get from `position` to the end of the log at `path`, rotations included."""
    fresh = Position(path=str(path))
    if position.offset == 0:
        return Plan(tuple((file, fresh) for file in (*_siblings(path), path) if file.exists()))
    if _continued(path, position):
        return Plan(((path, position),))
    siblings = _siblings(path)
    for index, old in enumerate(siblings):
        if _continued(old, position):
            later = [(other, fresh) for other in siblings[index + 1 :]]
            last = [(path, fresh)] if path.exists() else []
            return Plan(((old, position), *later, *last))
    if not path.exists():
        return Plan((), gap=f"{path} is gone; waiting for it to come back")
    return Plan(((path, fresh),), gap=f"{path} was rotated and its old file is gone: lines may be missing")


def _continued(path: Path, position: Position) -> bool:
    try:
        with path.open("rb") as file:
            return continues(file, position)
    except OSError:
        return False


def chunks(plan_: Plan) -> Iterator[Chunk]:
    """All complete lines that are there now, in order."""
    before: tuple[Path, Position] | None = None
    for path, position in plan_.steps:
        if before is not None:
            if path.stat().st_size == 0:
                continue  # nobody writes here yet, so the file before it may still grow
            # The writer may have finished its last lines in the old file after we had read it.
            yield from _chunks_of(*before)
        last = position
        for chunk in _chunks_of(path, position):
            last = chunk.after
            yield chunk
        before = (path, last)
