"""The database and the blobs beside it. Tables are made by the migrations, never here."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlmodel import Session, SQLModel, create_engine

from evidence.blobs import BlobStore
from evidence.wal import use_wal

BUSY_MS = 30_000
_WRITER_LOCK = 0x65766F6C7665
"""Any number, the same for all of our processes."""


class StoreError(ValueError):
    """The database can't be used as it is; the message is one line that says what to do."""


class NotFound(LookupError):
    """No such evidence, batch, case or turn."""


class Journal(Protocol):
    """What evidence needs of the ledger."""

    def append(self, kind: str, data: dict[str, Any], who: str, reason: str) -> object: ...


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def make_engine(url: str) -> Engine:
    """SQLite gets WAL, full sync, a busy timeout and foreign keys; PostgreSQL is reached through psycopg
    3.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("database url is not understood; use sqlite:///FILE or postgresql://…") from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        event.listen(engine, "begin", _postgresql_begin)
        return engine
    if backend != "sqlite":
        raise StoreError(f"database {backend!r} is not supported; use SQLite or PostgreSQL")
    engine = create_engine(parsed)
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions itself: it would leave table definitions outside of them.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}").close()
    use_wal(connection, BUSY_MS / 1000)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: Any) -> None:
    # A transaction that reads first and writes later fails at once when another wrote in between; writers
    # queue here.
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _postgresql_begin(connection: Any) -> None:
    # Writers queue as they do on SQLite, so that what is checked in a transaction still holds when it writes.
    if connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")


class Store:
    """Sessions on one database, the blobs beside it, and the ledger that hears of every change of a batch."""

    def __init__(self, url: str, blobs: Path, journal: Journal | None = None) -> None:
        self.engine = make_engine(url)
        self._writer = self.engine.execution_options(writes=True)
        self.blobs = BlobStore(blobs)
        self.journal = journal

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with Session(self._writer) as session, session.begin():
            yield session

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def insert_new(session: Session, table: type[SQLModel], rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows; those whose unique key is taken are left alone."""
    if not rows:
        return
    target = table.__table__  # type: ignore[attr-defined]
    module = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.connection().execute(module.insert(target).on_conflict_do_nothing(), [dict(row) for row in rows])
