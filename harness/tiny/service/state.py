"""What the tiny substrate keeps: an event log, a database, and locks by name."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA = 1
READS = (1,)
TABLES = """
CREATE TABLE applied (
    session TEXT, position INTEGER, request_id TEXT UNIQUE, PRIMARY KEY (session, position)
);
CREATE TABLE replies (request_id TEXT PRIMARY KEY, session TEXT, status INTEGER, body TEXT);
CREATE TABLE notes (session TEXT, position INTEGER, text TEXT, PRIMARY KEY (session, position));
"""
Reply = tuple[int, dict[str, object]]


def ulid() -> str:
    """48 bits of milliseconds and 80 random bits, in Crockford's base 32."""
    value = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(value >> shift) & 31] for shift in range(125, -1, -5))


class EventLog:
    """`events.jsonl`: whole lines, appended in one write; `sync` before a reply leaves."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self.file).st_size
        if size and os.pread(self.file, 1, size - 1) != b"\n":
            os.write(self.file, b"\n")  # a torn last line stays on a line of its own

    def emit(self, kind: str, session: str, turn: str, seq: int, **fields: object) -> None:
        event = {
            "v": 1,
            "id": ulid(),
            "ts": time.time(),
            "kind": kind,
            "session": session,
            "turn": turn,
            "seq": seq,
        }
        os.write(self.file, (json.dumps(event | fields, ensure_ascii=False) + "\n").encode())

    def sync(self) -> None:
        os.fdatasync(self.file)


class Turn:
    """One request on its way through the service."""

    def __init__(self, events: EventLog, session: str, request_id: str) -> None:
        self.events, self.session, self.request_id = events, session, request_id
        self.seq = 0

    def emit(self, kind: str, **fields: object) -> None:
        self.events.emit(kind, self.session, self.request_id, self.seq, **fields)
        self.seq += 1


class Store:
    """The state directory's database. One connection; `lock` makes every method one step."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.lock = threading.RLock()

    @property
    def schema(self) -> int:
        return int(self.db.execute("PRAGMA user_version").fetchone()[0])

    def migrate(self) -> None:
        """Create an empty database's tables. Raises RuntimeError on a format that this tree can't read."""
        if self.schema == 0:
            self.db.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        if self.schema not in READS:
            raise RuntimeError(f"state schema {self.schema} is not one of {READS}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    def reply(self, request_id: str) -> Reply | None:
        with self.lock:
            row = self.db.execute(
                "SELECT status, body FROM replies WHERE request_id = ?", (request_id,)
            ).fetchone()
        return (int(row[0]), json.loads(row[1])) if row else None

    def applied(self, session: str) -> list[str]:
        query = "SELECT request_id FROM applied WHERE session = ? ORDER BY position"
        with self.lock:
            return [str(row[0]) for row in self.db.execute(query, (session,))]

    def notes(self, session: str) -> list[str]:
        query = "SELECT text FROM notes WHERE session = ? ORDER BY position"
        with self.lock:
            return [str(row[0]) for row in self.db.execute(query, (session,))]

    def apply(self, turn: Turn, count: int, note: str | None, reply: Reply) -> None:
        """The turn's whole effect, its reply included, in one transaction."""
        with self.transaction() as db:
            db.execute("INSERT INTO applied VALUES (?, ?, ?)", (turn.session, count, turn.request_id))
            if note is not None:
                db.execute("INSERT INTO notes VALUES (?, ?, ?)", (turn.session, count, note))
            body = json.dumps(reply[1])
            db.execute(
                "INSERT INTO replies VALUES (?, ?, ?, ?)", (turn.request_id, turn.session, reply[0], body)
            )

    def delete(self, session: str) -> bool:
        with self.transaction() as db:
            gone = [
                db.execute(f"DELETE FROM {t} WHERE session = ?", (session,))
                for t in ("applied", "replies", "notes")
            ]
        return any(cursor.rowcount for cursor in gone)


class KeyedLocks:
    """A lock a name, gone when nobody holds or wants it."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        with self.guard:
            lock, users = self.locks.get(name, (threading.Lock(), 0))
            self.locks[name] = (lock, users + 1)
        with lock:
            try:
                yield
            finally:
                with self.guard:
                    users = self.locks[name][1] - 1
                    if users:
                        self.locks[name] = (lock, users)
                    else:
                        del self.locks[name]
