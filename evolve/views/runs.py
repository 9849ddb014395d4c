"""Runs: where they are, their stages, what they said, and what they cost."""

from datetime import datetime
from typing import Any

from sqlmodel import col, select

from evolve.errors import NotFound
from evolve.tables import CandidateRow, RunEventRow, RunRow, StageRow
from evolve.views.candidates import CandidateSummary, candidate_view
from evolve.views.costs import Cost, RunCosts, run_costs
from evolve.views.record import Record, SessionFactory, aware
from trial.progress import Progress

ACTIVE_RUNS = ("queued", "running", "stopping")
STAGE_ORDER = (col(StageRow.iteration), col(StageRow.started), col(StageRow.id))


class RunSummary(Record):
    id: str
    batch_id: str
    state: str
    requester: str
    reason: str
    coder: str
    seed: int
    options: dict[str, Any]
    """Its own [run] settings."""
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
    seconds: float
    candidate_id: str | None
    """Whom it is about, where `proposal` does not say so."""
    progress: Progress | None
    """Of its latest replays."""
    started: datetime
    finished: datetime | None

    @property
    def cost(self) -> Cost:
        return Cost(usd_micros=self.usd_micros, tokens=self.tokens, trials=self.trials, seconds=self.seconds)


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
    candidates: tuple[CandidateSummary, ...]
    costs: RunCosts

    @property
    def last_event(self) -> int:
        return self.events[-1].id if self.events else 0


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
        candidates = session.exec(found).all()
        return RunDetail(
            run=_run(row, stages[-1] if stages else None),
            stages=tuple(stage_view(stage) for stage in stages),
            events=tuple(_event(event) for event in reversed(events)),
            candidates=tuple(candidate_view(candidate) for candidate in candidates),
            costs=run_costs(row, stages, {c.id: (c.iteration, c.proposal) for c in candidates}),
        )


def _run(row: RunRow, stage: StageRow | None) -> RunSummary:
    fields: dict[str, Any] = row.model_dump(include=set(RunSummary.model_fields))
    fields["created"] = aware(row.created)
    fields["finished"] = aware(row.finished) if row.finished else None
    return RunSummary(**fields, iteration=stage.iteration if stage else 0, stage=stage.name if stage else "")


def stage_view(row: StageRow) -> StageView:
    fields: dict[str, Any] = row.model_dump(include=set(StageView.model_fields))
    fields["started"] = aware(row.started)
    fields["finished"] = aware(row.finished) if row.finished else None
    return StageView(**fields)


def _event(row: RunEventRow) -> RunEvent:
    return RunEvent(id=row.id or 0, at=aware(row.at), stage=row.stage, text=row.text, data=row.data)
