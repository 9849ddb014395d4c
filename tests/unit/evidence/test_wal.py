"""Several that open a new database at the same moment."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from evidence.wal import use_wal


def test_it_waits_for_who_holds_the_database(tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)) as first,
        closing(sqlite3.connect(tmp_path / "x.db", timeout=0)) as second,
    ):
        first.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_wal(second, 0.02)
        release = threading.Timer(0.1, lambda: first.execute("COMMIT"))
        release.start()
        use_wal(second, 60)
        release.join()
        assert second.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database, and long enough to be looked at" * 100)
    with (
        closing(sqlite3.connect(tmp_path / "x.db")) as db,
        pytest.raises(sqlite3.DatabaseError, match="not a database"),
    ):
        use_wal(db, 60)
