"""The tables that evidence writes, and nobody else.

Times of the outside world are unix seconds, our own are RFC 3339.
"""

import json
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, Text, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


class JsonText(TypeDecorator[Any]):
    """JSON in a text column: the same on both databases, key order kept, and U+0000 (escaped) allowed."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def _serial() -> Any:
    return Field(
        default=None,
        sa_column=Column(
            "n", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
        ),
    )


def _json() -> Any:
    return Field(default=None, sa_column=Column(JsonText, nullable=True))


def _big(default: int = 0) -> Any:
    return Field(default=default, sa_type=BigInteger)


class CursorRow(SQLModel, table=True):
    """How far one log was read. Moves in the same transaction as the rows that were read."""

    __tablename__ = "evidence_cursor"

    key: str = Field(primary_key=True)
    kind: str
    path: str
    inode: str
    offset: int = _big()
    prefix_len: int = 0
    prefix_sha: str = ""
    tail_len: int = 0
    tail_sha: str = ""
    process_id: str | None = None
    """The process_started event that the next line belongs to."""
    updated: str


class EventRow(SQLModel, table=True):
    __tablename__ = "evidence_event"

    n: int | None = _serial()
    id: str = Field(unique=True)
    ts: float
    kind: str
    session: str
    turn: str = Field(index=True)
    seq: int = _big()
    process_id: str | None = None
    body: Any = _json()


class AsideRow(SQLModel, table=True):
    """A line that could not be used, with the reason. Kept so that nothing disappears silently."""

    __tablename__ = "evidence_aside"

    n: int | None = _serial()
    source: str
    offset: int = _big()
    length: int = _big()
    reason: str
    head: str = Field(sa_type=Text)
    at: str


class CallRow(SQLModel, table=True):
    """One call as the gateway saw it. `n` follows the log, that is the order in which calls ended."""

    __tablename__ = "evidence_call"

    n: int | None = _serial()
    id: str = Field(unique=True)
    ts: float
    request_id: str = Field(index=True)
    body: Any = _json()


class CatalogRow(SQLModel, table=True):
    """What tool discovery answered from `ts` on."""

    __tablename__ = "evidence_catalog"

    n: int | None = _serial()
    id: str = Field(unique=True)
    ts: float
    body: Any = _json()


class ProcessRow(SQLModel, table=True):
    """One start of the service: where preludes begin."""

    __tablename__ = "evidence_process"

    id: str = Field(primary_key=True)
    ts: float
    epoch: str
    digest: str
    boot_nonce: str


class TurnRow(SQLModel, table=True):
    __tablename__ = "evidence_turn"

    request_id: str = Field(primary_key=True)
    session: str = Field(index=True)
    principal: str = ""
    process_id: str | None = Field(default=None, index=True)
    position: int = _big()
    """`n` of its turn_started event: turns in the order in which they started."""
    path: str = ""
    body: Any = _json()
    clock: float = 0.0
    status: int | None = None
    reply: Any = _json()
    latency: float = 0.0
    timed_out: bool = False
    ended: bool = False
    lost: bool = False
    """The process ended before the turn did."""
    dirty: bool = Field(default=True, index=True)
    """Something arrived since the turn was last judged."""
    state: str = Field(default="pending", index=True)
    """pending | failed | worked"""
    input_digest: str = ""
    shape: str = ""


class FlagRow(SQLModel, table=True):
    """A person's word on a turn. `counted` is false when the principal's quota was used up."""

    __tablename__ = "evidence_flag"

    id: str = Field(primary_key=True)
    request_id: str = Field(index=True)
    principal: str = Field(default="", index=True)
    rating: str
    comment: str = Field(sa_type=Text)
    operator: bool = False
    counted: bool | None = None
    ts: float


class EvidenceRow(SQLModel, table=True):
    __tablename__ = "evidence"

    id: str = Field(primary_key=True)
    request_id: str = Field(unique=True)
    fingerprint: str = Field(index=True)
    title: str = Field(sa_type=Text)
    signals: Any = _json()
    session: str
    principal: str
    flag_only: bool = False
    image: str = ""
    batch_id: str | None = Field(default=None, index=True)
    held: str = ""
    """Why it is in no batch."""
    ts: float
    at: str


class BatchRow(SQLModel, table=True):
    __tablename__ = "evidence_batch"
    __table_args__ = (
        Index(
            "evidence_one_open_batch",
            "fingerprint",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: str = Field(primary_key=True)
    fingerprint: str = Field(index=True)
    title: str = Field(sa_type=Text)
    state: str = Field(default="open", index=True)
    reason: str = Field(default="", sa_type=Text)
    opened_by: str = ""
    """The principal, when flags alone opened it."""
    tagged_by: str = ""
    """The operator who vouched for it, so that it may seal with few principals."""
    sealed_digest: str = ""
    at: str
    changed: str


class ChangeRow(SQLModel, table=True):
    """Every decision about a batch or a turn; also the outbox of the ledger."""

    __tablename__ = "evidence_change"

    n: int | None = _serial()
    id: str = Field(unique=True)
    subject: str = Field(index=True)
    """Id of the batch or of the turn."""
    kind: str
    data: Any = _json()
    who: str
    reason: str = Field(sa_type=Text)
    at: str
    journaled: bool = Field(default=False, index=True)


class CaseRow(SQLModel, table=True):
    __tablename__ = "evidence_case"
    __table_args__ = (Index("evidence_case_once", "batch_id", "request_id", unique=True),)

    id: str = Field(primary_key=True)
    batch_id: str = Field(index=True)
    evidence_id: str = ""
    request_id: str
    role: str
    """failure | regression"""
    state: str = "candidate"
    """candidate | confirmed | unchecked | refused"""
    reason: str = Field(default="", sa_type=Text)
    prelude: Any = _json()
    """Request ids of the prelude in order."""
    input_digest: str = ""
    split: str = ""
    decided: int = 0
    """Verdicts that this case decided as a held-out one."""
    at: str
