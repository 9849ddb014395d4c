"""The durable inbox: turns that were accepted and wait for their answer. What `put` has returned survives everything but
the disk.

The caller's id makes a turn one turn: handed in twice it is kept once, and the service gives one id one effect.
"""

import sqlite3
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,
    body BLOB NOT NULL,
    received REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    status INTEGER,
    reply BLOB,
    finished REAL
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON turns (number) WHERE status IS NULL;
"""
_COLUMNS = "id, session, body, received, attempts, status, reply"
GIVEN_UP = 0
"""The status of a turn that nobody answered in time."""


class Conflict(Exception):
    """The id belongs to another turn."""


class Full(Exception):
    """Too many turns wait: this one was not accepted."""


@dataclass(frozen=True)
class Kept:
    """One accepted turn. `status` None: it waits; else HTTP's, or GIVEN_UP."""

    id: str
    session: str
    body: bytes
    received: float
    attempts: int
    status: int | None
    reply: bytes | None


class Inbox:
    """Thread-safe. Every change is on the disk when its call returns."""

    def __init__(self, path: Path, most: int) -> None:
        """`most` turns may wait."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._most, self._lock = most, threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def put(self, ident: str, session: str, body: bytes) -> bool:
        """Keep a turn; False when it was kept already. Raises Conflict and Full."""
        with self._lock:
            known = self._one("id = ?", ident)
            if known is not None:
                if (known.session, known.body) != (session, body):
                    raise Conflict(f"{ident} is another turn's id")
                return False
            if self._waiting() >= self._most:
                raise Full(f"{self._most} turns wait already")
            self._db.execute(
                "INSERT INTO turns (id, session, body, received) VALUES (?, ?, ?, ?)",
                (ident, session, body, time.time()),
            )
            return True

    def get(self, ident: str) -> Kept | None:
        with self._lock:
            return self._one("id = ?", ident)

    def next(self, busy: Collection[str]) -> Kept | None:
        """The oldest turn that waits, of no session in `busy`: a session's turns are answered in their order."""
        marks = ", ".join("?" * len(busy))
        with self._lock:
            return self._one(f"status IS NULL AND session NOT IN ({marks}) ORDER BY number", *busy)

    def tried(self, ident: str) -> None:
        """Count an attempt that brought no answer."""
        with self._lock:
            self._db.execute("UPDATE turns SET attempts = attempts + 1 WHERE id = ?", (ident,))

    def finish(self, ident: str, status: int, reply: bytes) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE turns SET status = ?, reply = ?, finished = ? WHERE id = ? AND status IS NULL",
                (status, reply, time.time(), ident),
            )

    def waiting(self) -> int:
        with self._lock:
            return self._waiting()

    def forget(self, seconds: float) -> None:
        """Drop what was answered longer ago than that."""
        with self._lock:
            self._db.execute("DELETE FROM turns WHERE finished < ?", (time.time() - seconds,))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _waiting(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM turns WHERE status IS NULL").fetchone()[0])

    def _one(self, where: str, *values: str) -> Kept | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM turns WHERE {where} LIMIT 1", values).fetchone()
        return Kept(*row) if row is not None else None
