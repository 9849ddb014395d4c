"""Sessions in the state directory: history, settings, spending, and the one answer of every request id."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.turn import Message, Reply

SCHEMA = 1
READS = (1,)
TABLES = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, started REAL NOT NULL, turns INTEGER NOT NULL, tokens INTEGER NOT NULL
);
CREATE TABLE messages (
    session TEXT NOT NULL, turn INTEGER NOT NULL, position INTEGER NOT NULL, message TEXT NOT NULL,
    PRIMARY KEY (session, turn, position)
);
CREATE TABLE settings (
    session TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (session, name)
);
CREATE TABLE notes (
    session TEXT NOT NULL, turn INTEGER NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (session, turn)
);
CREATE TABLE replies (
    request_id TEXT PRIMARY KEY, session TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE INDEX replies_by_session ON replies (session);
"""


class StateError(RuntimeError):
    """The state directory can't be used by this tree; the message is one line."""


@dataclass(frozen=True, slots=True)
class Effect:
    """All that one turn leaves behind, its answer included."""

    request_id: str
    session: str
    clock: float
    reply: Reply
    tokens: int = 0
    messages: Sequence[Message] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


class Memory:
    """One connection, used from the event loop only: every method is one step."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)

    def prepare(self) -> None:
        """Make an empty database ours. Raises StateError on a format that this tree can't read."""
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if self.schema == 0:
            self._db.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        if self.schema not in READS:
            raise StateError(
                f"the state has format {self.schema}; this tree reads {', '.join(map(str, READS))}"
            )

    @property
    def schema(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def check(self) -> str:
        """`ok`, or what SQLite finds wrong with the file."""
        return str(self._db.execute("PRAGMA integrity_check").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    # --- reading

    def reply(self, request_id: str) -> Reply | None:
        row = self._db.execute(
            "SELECT status, body FROM replies WHERE request_id = ?", (request_id,)
        ).fetchone()
        return Reply(int(row[0]), json.loads(row[1])) if row else None

    def session_of(self, request_id: str) -> str | None:
        row = self._db.execute("SELECT session FROM replies WHERE request_id = ?", (request_id,)).fetchone()
        return str(row[0]) if row else None

    def history(self, session: str, turns: int) -> list[Message]:
        """The messages of the session's last turns; whole turns, so that no tool result loses its call."""
        query = """SELECT message FROM messages WHERE session = ?1 AND turn IN
                   (SELECT DISTINCT turn FROM messages WHERE session = ?1 ORDER BY turn DESC LIMIT ?2)
                   ORDER BY turn, position"""
        return [json.loads(row[0]) for row in self._db.execute(query, (session, turns))]

    def settings(self, session: str) -> dict[str, str]:
        query = "SELECT name, value FROM settings WHERE session = ? ORDER BY name"
        return {str(name): str(value) for name, value in self._db.execute(query, (session,))}

    def notes(self, session: str) -> tuple[str, ...]:
        query = "SELECT note FROM notes WHERE session = ? ORDER BY turn"
        return tuple(str(row[0]) for row in self._db.execute(query, (session,)))

    def tokens(self, session: str) -> int:
        row = self._db.execute("SELECT tokens FROM sessions WHERE id = ?", (session,)).fetchone()
        return int(row[0]) if row else 0

    # --- writing

    def commit(self, effect: Effect) -> None:
        """The whole effect or none of it."""
        with self._transaction() as db:
            turn = self._count_turn(effect)
            for position, message in enumerate(effect.messages):
                row = (effect.session, turn, position, json.dumps(message, ensure_ascii=False))
                db.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
            for name, value in effect.settings.items():
                db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", (effect.session, name, value))
            if effect.note is not None:
                db.execute("INSERT INTO notes VALUES (?, ?, ?)", (effect.session, turn, effect.note))
            body = json.dumps(effect.reply.body, ensure_ascii=False)
            reply = (effect.request_id, effect.session, effect.reply.status, body)
            db.execute("INSERT INTO replies VALUES (?, ?, ?, ?)", reply)

    def delete(self, session: str) -> bool:
        """Forget the session, the answers to its requests included. False: there was nothing."""
        with self._transaction() as db:
            gone = db.execute("DELETE FROM sessions WHERE id = ?", (session,)).rowcount
            for table in ("messages", "settings", "notes", "replies"):
                gone += db.execute(f"DELETE FROM {table} WHERE session = ?", (session,)).rowcount
        return gone > 0

    def _count_turn(self, effect: Effect) -> int:
        query = """INSERT INTO sessions VALUES (?, ?, 1, ?) ON CONFLICT (id) DO UPDATE
                   SET turns = turns + 1, tokens = tokens + excluded.tokens RETURNING turns"""
        return int(self._db.execute(query, (effect.session, effect.clock, effect.tokens)).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def open_memory(state_dir: Path) -> Memory:
    """Raises StateError."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        memory = Memory(state_dir / "sessions.db")
    except (OSError, sqlite3.Error) as error:
        raise StateError(f"{state_dir}: {error}") from error
    try:
        memory.prepare()
    except StateError:
        memory.close()
        raise
    except sqlite3.Error as error:
        memory.close()
        raise StateError(f"{state_dir}: {error}") from error
    return memory
