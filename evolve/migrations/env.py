"""Run by alembic. The connection, with its transaction, comes from the caller."""

from typing import Any, Literal

from alembic import context
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel

import evidence.tables  # noqa: F401 - fills SQLModel.metadata, as does the next
import evolve.tables  # noqa: F401


def _plain_types(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Versions name SQLAlchemy's own types only, so that they outlive our classes."""
    if (
        kind == "type"
        and isinstance(item, TypeEngine)
        and not type(item).__module__.startswith("sqlalchemy.")
    ):
        return f"sa.{'Text' if type(item).__name__ == 'JsonText' else 'String'}()"
    return False


connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run `python -m evolve.migrations`, not alembic itself")
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
    render_item=_plain_types,
)
with context.begin_transaction():
    context.run_migrations()
