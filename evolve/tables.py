"""What the pipeline remembers: runs, their stages, their candidates, and the progress that people watch.

Large outputs are blobs named by digest; the rows are the index. Written by `evolve` alone.
"""

from datetime import datetime

from sqlalchemy import JSON, Column, DateTime, UniqueConstraint
from sqlmodel import Field, SQLModel

from evidence.canonical import new_id, utcnow


def _time(nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


class RunRow(SQLModel, table=True):
    """One evolution of one batch. `state`: queued, running, stopping, finished, failed, stopped."""

    __tablename__ = "run"

    id: str = Field(default_factory=new_id, primary_key=True)
    batch_id: str = Field(index=True)
    batch_digest: str
    state: str = "queued"
    requester: str
    reason: str
    coder: str
    seed: int
    options: dict[str, object] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    verdict: str | None = None
    verdict_reason: str = ""
    candidate_id: str | None = None
    usd_micros: int = 0
    tokens: int = 0
    trials: int = 0
    seconds: float = 0.0
    created: datetime = Field(default_factory=utcnow, sa_column=_time())
    finished: datetime | None = Field(default=None, sa_column=_time(nullable=True))


class StageRow(SQLModel, table=True):
    """One step. `iteration` is the pass (0: before the first), `proposal` its number within the pass (0: of them all),
    `round` how often a review sent it back. `state`: started, done, failed. A done stage is never run again for
    the same input. What is spent is summed over all attempts."""

    __tablename__ = "stage"
    __table_args__ = (
        UniqueConstraint("run_id", "iteration", "proposal", "round", "name", name="stage_place_key"),
    )

    id: str = Field(default_factory=new_id, primary_key=True)
    run_id: str = Field(index=True, foreign_key="run.id")
    iteration: int
    proposal: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    round: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    name: str
    state: str = "started"
    input_digest: str
    output_blob: str | None = None
    error: str = ""
    attempts: int = 1
    usd_micros: int = 0
    tokens: int = 0
    trials: int = 0
    seconds: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    candidate_id: str | None = None
    """Whom it is about, where `proposal` does not say so."""
    progress: dict[str, object] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """`trial.progress.Progress`, of its latest replays."""
    started: datetime = Field(default_factory=utcnow, sa_column=_time())
    finished: datetime | None = Field(default=None, sa_column=_time(nullable=True))


class CandidateRow(SQLModel, table=True):
    """A candidate's index entry. `state`: built, refused, tried, ready, approved, declined, committed, rolled_back."""

    __tablename__ = "candidate"

    id: str = Field(primary_key=True)
    run_id: str = Field(index=True, foreign_key="run.id")
    batch_id: str = Field(index=True)
    iteration: int
    proposal: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    commit: str
    image: str
    digest: str
    diff_blob: str
    candidate_blob: str
    report_blob: str | None = None
    trials_blob: str | None = None
    verdict: str | None = None
    state: str = "built"
    decided_by: str = ""
    decided_reason: str = ""
    approval_digest: str | None = None
    swap_id: str | None = None
    created: datetime = Field(default_factory=utcnow, sa_column=_time())


class RunEventRow(SQLModel, table=True):
    """Progress for people: what a watcher of a run sees, in order."""

    __tablename__ = "run_event"

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(index=True, foreign_key="run.id")
    at: datetime = Field(default_factory=utcnow, sa_column=_time())
    stage: str
    text: str
    data: dict[str, object] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class WebhookRow(SQLModel, table=True):
    """One message to one address, the same bytes at every try. `state`: waiting, sent, given_up."""

    __tablename__ = "webhook"

    n: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    url: str = Field(index=True)
    event: str
    body: str
    state: str = "waiting"
    attempts: int = 0
    error: str = ""
    due: datetime = Field(sa_column=_time())
    created: datetime = Field(sa_column=_time())


class WebhookCursorRow(SQLModel, table=True):
    """How far a ledger was read for webhooks."""

    __tablename__ = "webhook_cursor"

    ledger: str = Field(primary_key=True)
    seq: int
