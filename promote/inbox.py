"""The durable inbox: turns that were accepted and wait for their answer. What `put` has returned survives everything but
the disk.

The caller's id makes a turn one turn: handed in twice it is kept once, and the service gives one id one effect.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evidence.wal import use_wal

T = TypeVar("T")

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
    finished REAL,
    round INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON turns (number) WHERE status IS NULL;
"""
_COLUMNS = "id, session, body, received, attempts, status, reply, round"
_WAIT_SECONDS = 30.0
"""For whoever else writes."""
GIVEN_UP = 0
"""The status of a turn that nobody answered in time."""


class Conflict(Exception):
    """The id belongs to another turn."""


class Full(Exception):
    """Too many turns wait: this one was not accepted."""


class InboxBroken(Exception):
    """The inbox's file can't be read or written."""


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
    round: int
    """Raised when the turn is to be answered anew: an answer of an earlier round does not count."""


class Inbox:
    """Thread-safe. Every change is on the disk when its call returns."""

    def __init__(self, path: Path, most: int) -> None:
        """`most` turns may wait."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._most, self._lock = most, threading.Lock()
        self._db = _open(path)

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

    def first(self, session: str) -> Kept | None:
        """The oldest turn of this session that waits."""
        with self._lock:
            return self._one("status IS NULL AND session = ? ORDER BY number", session)

    def tried(self, ident: str) -> None:
        """Count an attempt that brought no answer."""
        with self._lock:
            self._db.execute("UPDATE turns SET attempts = attempts + 1 WHERE id = ?", (ident,))

    def finish(self, turn: Kept, status: int, reply: bytes) -> bool:
        """False: the turn is to be answered anew, and this answer came too late to count."""
        with self._lock:
            done = self._db.execute(
                "UPDATE turns SET status = ?, reply = ?, finished = ? WHERE id = ? AND status IS NULL AND round = ?",
                (status, reply, time.time(), turn.id, turn.round),
            )
            return done.rowcount == 1

    def waiting(self) -> int:
        with self._lock:
            return self._waiting()

    def forget(self, seconds: float) -> None:
        """Drop what was answered longer ago than that. The newest turn stays: its number must not be given again."""
        with self._lock:
            self._db.execute(
                "DELETE FROM turns WHERE finished < ? AND number < (SELECT max(number) FROM turns)",
                (time.time() - seconds,),
            )

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _waiting(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM turns WHERE status IS NULL").fetchone()[0])

    def _one(self, where: str, *values: str) -> Kept | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM turns WHERE {where} LIMIT 1", values).fetchone()
        return Kept(*row) if row is not None else None


def mark(path: Path) -> int:
    """The number from which on no turn is sure to be answered. Raises InboxBroken."""

    def look(db: sqlite3.Connection) -> int:
        first = "SELECT min(number) FROM turns WHERE status IS NULL"
        after = "SELECT coalesce(max(number), 0) + 1 FROM turns"
        return int(db.execute(f"SELECT coalesce(({first}), ({after}))").fetchone()[0])

    return _of_another(path, look)


def reopen(path: Path, first: int) -> int:
    """Let every turn from that number on be answered anew, by whoever is live next, and wait as long as a fresh one; the
    ingress may run meanwhile. Returns how many those are, also when it is done again. Turns that were given up stay so:
    their callers were told. Raises InboxBroken."""

    def change(db: sqlite3.Connection) -> int:
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "UPDATE turns SET status = NULL, reply = NULL, finished = NULL, received = ?, round = round + 1, attempts = 0"
            " WHERE number >= ? AND status IS NOT ?",
            (time.time(), first, GIVEN_UP),
        )
        changed = db.execute("SELECT changes()").fetchone()
        db.execute("COMMIT")
        return int(changed[0])

    return _of_another(path, change)


def _of_another(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """On the ingress's own database, from another process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(_open(path)) as db:
            return work(db)
    except sqlite3.Error as error:
        raise InboxBroken(f"the inbox can't be used: {path}: {error}") from None


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_WAIT_SECONDS, check_same_thread=False, isolation_level=None)
    try:
        use_wal(db, _WAIT_SECONDS)
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_SCHEMA)
        if "round" not in {row[1] for row in db.execute("PRAGMA table_info(turns)")}:
            db.execute("ALTER TABLE turns ADD COLUMN round INTEGER NOT NULL DEFAULT 0")
    except BaseException:
        db.close()
        raise
    return db
