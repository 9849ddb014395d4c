"""One history of the database for SQLite and PostgreSQL, run from the installed package.

`python -m evolve.migrations "what changes"` writes the next version from the difference between tables and
history.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

import evidence.tables  # noqa: F401 - fills SQLModel.metadata, as does the next
import evolve.tables  # noqa: F401
from evidence.store import StoreError, make_engine


def script_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    head = ScriptDirectory.from_config(script_config()).get_current_head()
    assert head is not None  # the package ships at least one version
    return head


def upgrade(url: str) -> bool:
    """Bring the database to this version of the product; True when something changed. Raises StoreError.

    One transaction on both databases: a crash in the middle leaves the old version. Several processes may
    call it at once.
    """
    engine = make_engine(url)
    try:
        with engine.execution_options(writes=True).begin() as connection:
            current = _checked_revision(connection)
            if current == head_revision():
                _require_tables(connection)
                return False
            command.upgrade(script_config(connection), "head")
            return True
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise StoreError(f"database can't be opened or upgraded: {cause}") from error
    finally:
        engine.dispose()


def _our_tables(connection: Connection) -> tuple[set[str], set[str]]:
    ours = set(SQLModel.metadata.tables)
    return ours, ours & set(inspect(connection).get_table_names())


def _checked_revision(connection: Connection) -> str | None:
    """The revision that the database says it has; refuses those that can't be upgraded from."""
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise StoreError(
            "database is half migrated (two revisions at once): restore a backup, then start again"
        )
    if not heads:
        _, present = _our_tables(connection)
        if present:
            raise StoreError(
                f"database is half migrated (table {min(present)} without a revision): "
                "restore a backup, or start on an empty one"
            )
        return None
    known = {script.revision for script in ScriptDirectory.from_config(script_config()).walk_revisions()}
    if heads[0] not in known:
        raise StoreError(
            f"database is newer than this program (revision {heads[0]}): install the newer version"
        )
    return heads[0]


def _require_tables(connection: Connection) -> None:
    ours, present = _our_tables(connection)
    if missing := ours - present:
        raise StoreError(f"database is half migrated (table {min(missing)} is missing): restore a backup")
