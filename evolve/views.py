"""Looking, never touching: batches, runs and candidates as frozen records, for the CLI's listings, the page and the
control API alike. What the ledgers tell is in `evolve.journal`.

Nothing here writes, and nothing here decides. Texts in these records are as hostile as what they were read
from; `evolve.sanitize` and the templates make them safe to show.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlmodel import Session, col, select

from evidence import queries
from evidence.blobs import BlobError
from evidence.draft import readiness
from evidence.records import BatchDetail, BatchRecord, EvidenceRecord, Readiness
from evidence.store import NotFound as NotStored
from evidence.store import Store
from evolve.errors import Broken, NotFound
from evolve.settings import Settings
from evolve.tables import CandidateRow, RunEventRow, RunRow, StageRow
from promote.policy import Role

SessionFactory = Callable[[], AbstractContextManager[Session]]

ACTIVE_RUNS = ("queued", "running", "stopping")


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSummary(Record):
    id: str
    batch_id: str
    state: str
    requester: str
    reason: str
    coder: str
    seed: int
    verdict: str | None
    verdict_reason: str
    candidate_id: str | None
    usd_micros: int
    tokens: int
    trials: int
    seconds: float
    created: datetime
    finished: datetime | None
    iteration: int
    """The latest pass; 0 before the first."""
    stage: str
    """The stage that is under way, else the last one."""

    @property
    def active(self) -> bool:
        return self.state in ACTIVE_RUNS


class StageView(Record):
    iteration: int
    proposal: int
    """Its number within the pass; 0 for what concerns all of them."""
    round: int
    name: str
    state: str
    error: str
    attempts: int
    usd_micros: int
    tokens: int
    trials: int
    started: datetime
    finished: datetime | None

    @property
    def seconds(self) -> float | None:
        return (self.finished - self.started).total_seconds() if self.finished else None


class RunEvent(Record):
    id: int
    at: datetime
    stage: str
    text: str
    data: dict[str, object]


class RunDetail(Record):
    run: RunSummary
    stages: tuple[StageView, ...]
    events: tuple[RunEvent, ...]
    candidates: tuple["CandidateSummary", ...]

    @property
    def last_event(self) -> int:
        return self.events[-1].id if self.events else 0


class CandidateSummary(Record):
    id: str
    run_id: str
    batch_id: str
    iteration: int
    proposal: int
    commit: str
    image: str
    digest: str
    verdict: str | None
    state: str
    decided_by: str
    decided_reason: str
    approval_digest: str | None
    swap_id: str | None
    created: datetime


class BatchView(Record):
    batch: BatchDetail
    evidence: tuple[EvidenceRecord, ...]
    splits: dict[str, int]
    """Cases by split; before sealing, confirmed ones have none yet."""


class BatchReport(BatchDetail):
    readiness: Readiness
    """What it still lacks to be sealed."""


class CandidateDiff(Record):
    candidate: str
    diff: str


class Decided(Record):
    candidate: str
    state: str


class SwapAsked(Record):
    """The promoter took a request: the swap that answers it."""

    swap: str


class PersonView(Record):
    name: str
    roles: tuple[Role, ...]
    public_key: str


def list_people(settings: Settings) -> tuple[PersonView, ...]:
    people = settings.consent.people.items()
    return tuple(PersonView(name=name, roles=p.roles, public_key=p.public_key) for name, p in people)


def list_batches(
    store: Store, *, state: str | None = None, limit: int = 200, offset: int = 0
) -> tuple[BatchRecord, ...]:
    """Newest first."""
    return tuple(queries.list_batches(store, state=state, limit=limit, offset=offset))


def report_batch(settings: Settings, store: Store, batch_id: str) -> BatchReport:
    """One batch with its cases, its life, and what it still lacks to be sealed."""
    found = _batch(store, batch_id)
    ready = readiness(store, batch_id, settings.batch.seal_policy)
    return BatchReport(**dict(found), readiness=ready)


def get_batch(store: Store, batch_id: str, max_evidence: int = 1000) -> BatchView:
    """One batch with what it gathered."""
    detail = _batch(store, batch_id)
    evidence = queries.list_evidence(store, batch_id=batch_id, limit=max_evidence)
    splits = Counter(case.split for case in detail.cases if case.split)
    return BatchView(batch=detail, evidence=tuple(evidence), splits=dict(splits))


def _batch(store: Store, batch_id: str) -> BatchDetail:
    try:
        return queries.get_batch(store, batch_id)
    except NotStored:
        raise NotFound(f"no batch {batch_id}", hint="`evolve batch list` shows them") from None


def list_runs(
    sessions: SessionFactory, batch_id: str | None = None, *, limit: int = 200, offset: int = 0
) -> tuple[RunSummary, ...]:
    """Newest first."""
    with sessions() as session:
        query = select(RunRow).order_by(col(RunRow.created).desc(), col(RunRow.id).desc())
        query = query.limit(limit).offset(offset)
        if batch_id is not None:
            query = query.where(RunRow.batch_id == batch_id)
        rows = session.exec(query).all()
        ids = [row.id for row in rows]
        latest: dict[str, StageRow] = {}
        stages = select(StageRow).where(col(StageRow.run_id).in_(ids)).order_by(*STAGE_ORDER)
        for stage in session.exec(stages):
            latest[stage.run_id] = stage
        return tuple(_run(row, latest.get(row.id)) for row in rows)


def get_run(
    sessions: SessionFactory, run_id: str, *, after_event: int = 0, max_events: int | None = None
) -> RunDetail:
    """One run with its stages in order and its events after `after_event` (the last `max_events` of them)."""
    with sessions() as session:
        row = session.get(RunRow, run_id)
        if row is None:
            raise NotFound(f"no run {run_id}", hint="`evolve run list` shows them")
        stages = session.exec(select(StageRow).where(StageRow.run_id == run_id).order_by(*STAGE_ORDER)).all()
        events = session.exec(
            select(RunEventRow)
            .where(RunEventRow.run_id == run_id, col(RunEventRow.id) > after_event)
            .order_by(col(RunEventRow.id).desc())
            .limit(max_events)
        ).all()
        found = select(CandidateRow).where(CandidateRow.run_id == run_id).order_by(col(CandidateRow.id))
        return RunDetail(
            run=_run(row, stages[-1] if stages else None),
            stages=tuple(stage_view(stage) for stage in stages),
            events=tuple(_event(event) for event in reversed(events)),
            candidates=tuple(_candidate(candidate) for candidate in session.exec(found)),
        )


def list_candidates(
    sessions: SessionFactory,
    *,
    state: str | None = None,
    run_id: str | None = None,
    limit: int = 200,
    offset: int = 0,
) -> tuple[CandidateSummary, ...]:
    """Newest first."""
    with sessions() as session:
        query = select(CandidateRow).order_by(col(CandidateRow.created).desc(), col(CandidateRow.id).desc())
        if state is not None:
            query = query.where(CandidateRow.state == state)
        if run_id is not None:
            query = query.where(CandidateRow.run_id == run_id)
        return tuple(_candidate(row) for row in session.exec(query.limit(limit).offset(offset)))


def get_candidate(sessions: SessionFactory, candidate_id: str) -> CandidateSummary:
    with sessions() as session:
        row = session.get(CandidateRow, candidate_id)
        if row is None:
            raise NotFound(f"no candidate {candidate_id}", hint="`evolve candidate list` shows them")
        return _candidate(row)


def stored_diff(store: Store, candidate_id: str) -> bytes:
    with store.read() as session:
        row = session.get(CandidateRow, candidate_id)
        if row is None:
            raise NotFound(f"no candidate {candidate_id}", hint="`evolve candidate list` shows them")
        blob = row.diff_blob
    try:
        return store.blobs.get(blob)
    except BlobError as error:
        raise Broken(str(error)) from None


def get_diff(store: Store, candidate_id: str) -> CandidateDiff:
    data = stored_diff(store, candidate_id)
    return CandidateDiff(candidate=candidate_id, diff=data.decode("utf-8", "replace"))


STAGE_ORDER = (col(StageRow.iteration), col(StageRow.started), col(StageRow.id))


def aware(moment: datetime) -> datetime:
    """SQLite gives times back without their zone; all of ours are UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _run(row: RunRow, stage: StageRow | None) -> RunSummary:
    fields: dict[str, Any] = row.model_dump(include=set(RunSummary.model_fields))
    fields["created"] = aware(row.created)
    fields["finished"] = aware(row.finished) if row.finished else None
    if row.finished is None and row.state == "running":
        fields["seconds"] = max(row.seconds, (datetime.now(UTC) - aware(row.created)).total_seconds())
    return RunSummary(**fields, iteration=stage.iteration if stage else 0, stage=stage.name if stage else "")


def stage_view(row: StageRow) -> StageView:
    fields: dict[str, Any] = row.model_dump(include=set(StageView.model_fields))
    fields["started"] = aware(row.started)
    fields["finished"] = aware(row.finished) if row.finished else None
    return StageView(**fields)


def _event(row: RunEventRow) -> RunEvent:
    return RunEvent(id=row.id or 0, at=aware(row.at), stage=row.stage, text=row.text, data=row.data)


def _candidate(row: CandidateRow) -> CandidateSummary:
    fields: dict[str, Any] = row.model_dump(include=set(CandidateSummary.model_fields))
    fields["created"] = aware(row.created)
    return CandidateSummary(**fields)
