"""What every record for looking has in common."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from sqlmodel import Session

SessionFactory = Callable[[], AbstractContextManager[Session]]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def aware(moment: datetime) -> datetime:
    """SQLite gives times back without their zone; all of ours are UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
