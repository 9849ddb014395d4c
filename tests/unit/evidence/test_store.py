"""Blobs, pragmas, and a database that is not what it should be."""

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from evidence.blobs import BlobError, BlobStore
from evidence.store import Store, StoreError, make_engine, sqlite_url
from evolve.migrations import head_revision, upgrade


def test_blobs_are_named_by_their_bytes_and_checked_when_read(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    name = blobs.put(b"hello")
    assert blobs.put(b"hello") == name
    assert blobs.get(name) == b"hello"
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    file.write_bytes(b"hellO")
    with pytest.raises(BlobError, match="was changed"):
        blobs.get(name)
    file.unlink()
    with pytest.raises(BlobError, match="missing"):
        blobs.get(name)
    for odd in ("sha256:../../etc/passwd", "md5:00", "sha256:" + "Z" * 64):
        with pytest.raises(BlobError, match="not a blob digest"):
            blobs.get(odd)


def test_sqlite_is_opened_for_safety(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "x.db")
    upgrade(url)
    with Store(url, tmp_path) as store, store.read() as session:
        asked = {name: session.connection().execute(text(f"PRAGMA {name}")).scalar_one() for name in
                 ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_write_is_all_or_nothing(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "x.db")
    upgrade(url)
    insert = text("INSERT INTO evidence_process VALUES ('p', 1, '', '', '')")

    def write_twice(store: Store) -> None:
        with store.write() as session:
            session.connection().execute(insert)
            session.connection().execute(insert)

    with Store(url, tmp_path) as store:
        with pytest.raises(IntegrityError):
            write_twice(store)
        with store.read() as session:
            assert (
                session.connection().execute(text("SELECT count(*) FROM evidence_process")).scalar_one() == 0
            )


def test_the_history_makes_exactly_the_tables(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "x.db")
    assert upgrade(url) is True
    assert upgrade(url) is False
    engine = make_engine(url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
    engine.dispose()
    assert differences == [], (
        'tables were changed without a version: run `python -m evolve.migrations "what"`'
    )


def test_many_may_upgrade_at_once(tmp_path: Path) -> None:
    url, results = sqlite_url(tmp_path / "x.db"), []
    threads = [threading.Thread(target=lambda: results.append(upgrade(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "newer than this program"),
        ("DROP TABLE evidence_turn", "half migrated (table evidence_turn is missing)"),
        ("DELETE FROM alembic_version", "half migrated (table"),
        ("INSERT INTO alembic_version VALUES ('0000')", "half migrated (two revisions"),
    ],
)
def test_a_database_in_no_known_state_gets_one_line(tmp_path: Path, damage: str, message: str) -> None:
    url = sqlite_url(tmp_path / "x.db")
    upgrade(url)
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(StoreError) as caught:
        upgrade(url)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_database_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is not a database at all" * 40)
    with pytest.raises(StoreError, match="file is not a database"):
        upgrade(sqlite_url(tmp_path / "x.db"))
    with pytest.raises(StoreError, match="unable to open"):
        upgrade(sqlite_url(tmp_path / "no" / "such" / "folder" / "x.db"))
    for url in ("mysql://u:secret@h/db", "nonsense"):
        with pytest.raises(StoreError) as caught:
            make_engine(url)
        assert "secret" not in str(caught.value)


def test_an_interrupted_upgrade_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sqlite_url(tmp_path / "x.db")
    monkeypatch.setattr("evolve.migrations.command.upgrade", _half)
    with pytest.raises(KeyboardInterrupt):
        upgrade(url)
    monkeypatch.undo()
    assert upgrade(url) is True
    assert head_revision()


def _half(config: object, _target: str) -> None:
    config.attributes["connection"].execute(text("CREATE TABLE evidence_turn (x INTEGER)"))  # type: ignore[attr-defined]
    raise KeyboardInterrupt
