"""The event log: every fact of a turn as one JSON line, on disk before the turn's reply leaves."""

import errno
import json
import os
import re
import time
from pathlib import Path
from typing import Protocol

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(moment: float) -> str:
    """48 bits of milliseconds and 80 random bits in Crockford's base 32: unique, and sorting by time."""
    value = (int(moment * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


class EventLog:
    """`events.jsonl`, append-only. A line is one write, so that lines of parallel turns never mix."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()
        self._torn = False

    def write(
        self, kind: str, session: str, turn: str, seq: int, ts: float, fields: dict[str, object]
    ) -> None:
        event = {"v": 1, "id": ulid(ts), "ts": ts, "kind": kind, "session": session, "turn": turn, "seq": seq}
        self._append((json.dumps(event | fields, ensure_ascii=False) + "\n").encode())

    def note(self, kind: str, **fields: object) -> None:
        """A fact of the service rather than of a turn; on disk when this returns."""
        self.write(kind, "", "", 0, time.time(), fields)
        self.sync()

    def sync(self) -> None:
        """Make everything written so far durable, then follow a rotation of the file."""
        os.fsync(self._file)
        if self._rotated():
            os.close(self._file)
            self._file = self._open()

    def close(self) -> None:
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        """Raises OSError when the disk took only a part; the next line then begins after the torn one."""
        data = b"\n" + line if self._torn else line
        written = os.write(self._file, data)
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def _rotated(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return there.st_ino != os.fstat(self._file).st_ino

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")  # what a crash tore stays on a line of its own
        return file


class Recorder(Protocol):
    """Where the facts of a turn go."""

    def emit(self, kind: str, **fields: object) -> None: ...

    def emit_at(self, ts: float, kind: str, fields: dict[str, object]) -> None: ...


class TurnLog:
    """The facts of one turn, numbered from 0."""

    def __init__(self, log: EventLog, session: str, turn: str) -> None:
        self._log, self._session, self._turn = log, session, turn
        self._seq = 0

    def emit(self, kind: str, **fields: object) -> None:
        self.emit_at(time.time(), kind, fields)

    def emit_at(self, ts: float, kind: str, fields: dict[str, object]) -> None:
        self._log.write(kind, self._session, self._turn, self._seq, ts, fields)
        self._seq += 1

    def sync(self) -> None:
        self._log.sync()


class HeldLog:
    """Keeps facts back, so that what is done in parallel is written in an order without luck."""

    def __init__(self) -> None:
        self._held: list[tuple[float, str, dict[str, object]]] = []

    def emit(self, kind: str, **fields: object) -> None:
        self.emit_at(time.time(), kind, fields)

    def emit_at(self, ts: float, kind: str, fields: dict[str, object]) -> None:
        self._held.append((ts, kind, fields))

    def release(self, log: Recorder) -> None:
        """Hand everything on, each with the time when it happened."""
        held, self._held = self._held, []
        for ts, kind, fields in held:
            log.emit_at(ts, kind, fields)


def numbered(name: str) -> list[str | int]:
    """Sorts `s2` before `s10`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
