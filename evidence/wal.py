"""SQLite's write-ahead log."""

import sqlite3
import time


def use_wal(db: sqlite3.Connection, seconds: float) -> None:
    """Switch a database to its write-ahead log, waiting at most `seconds` for others that open it for the first time, too:
    for this one lock SQLite does not wait by itself. Raises sqlite3.OperationalError."""
    end = time.monotonic() + seconds
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.005)
