"""Looking, never touching: runs, candidates and the ledgers as frozen records, for the CLI's listings and the
page alike.

Nothing here writes, and nothing here decides. Texts in these records are as hostile as what they were read
from; `evolve.sanitize` and the templates make them safe to show.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from sqlmodel import Session, col, select

from evidence import queries
from evidence.ledger import KEY_USED, POINTER_SET, Entry, Ledger, LedgerBroken
from evidence.records import BatchDetail, BatchRecord, EvidenceRecord
from evidence.store import NotFound as NotStored
from evidence.store import Store
from evolve.errors import Broken, NotFound
from evolve.rollback_class import in_words
from evolve.settings import Settings
from evolve.tables import CandidateRow, RunEventRow, RunRow, StageRow
from promote.records import EndState

SessionFactory = Callable[[], AbstractContextManager[Session]]

ACTIVE_RUNS = ("queued", "running", "stopping")
PRODUCT_LEDGER = Path("ledger.db")
PROMOTER_LEDGER = Path("promote") / "ledger.db"


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


class HistoryEntry(Record):
    ledger: str
    """`product` or `promoter`: each counts its own entries."""
    seq: int
    at: datetime
    kind: str
    who: str
    reason: str
    data: dict[str, object]
    hash: str


class SwapStep(Record):
    """One state of a swap: written before the deed, and again when it was seen to be done."""

    seq: int
    state: str
    at: datetime
    done: datetime | None
    """None: under way, or the process died in it."""
    who: str
    reason: str
    detail: dict[str, object]

    @property
    def seconds(self) -> float | None:
        return (self.done - self.at).total_seconds() if self.done else None


class SwapView(Record):
    id: str
    state: str
    steps: tuple[SwapStep, ...]

    @property
    def ended(self) -> bool:
        return self.state.lower() in SWAP_ENDS

    @property
    def record(self) -> dict[str, object]:
        """How it ended, in the promoter's words; empty while it is under way."""
        found = self.steps[-1].detail.get("record")
        return found if isinstance(found, dict) else {}

    @property
    def rollback_class(self) -> str:
        """As it was approved; empty for what nobody approved."""
        return str(self._approval.get("rollback_class", ""))

    @property
    def rollback(self) -> str:
        """What going back does to what users wrote, in words."""
        replays = bool(self._approval.get("replays_inbox"))
        return in_words("lossy" if self.rollback_class == "lossy" else "same", replays)

    @property
    def _approval(self) -> dict[str, object]:
        found = (step.detail.get("approval") for step in self.steps)
        return next((approval for approval in found if isinstance(approval, dict)), {})

    @property
    def reason(self) -> str:
        return next((step.reason for step in reversed(self.steps) if step.reason), "")


SWAP_ENDS = get_args(EndState)


class BatchView(Record):
    batch: BatchDetail
    evidence: tuple[EvidenceRecord, ...]
    splits: dict[str, int]
    """Cases by split; before sealing, confirmed ones have none yet."""


def list_batches(store: Store, limit: int = 200) -> tuple[BatchRecord, ...]:
    """Newest first."""
    return tuple(queries.list_batches(store, limit=limit))


def get_batch(store: Store, batch_id: str, max_evidence: int = 1000) -> BatchView:
    """One batch with what it gathered."""
    try:
        detail = queries.get_batch(store, batch_id)
    except NotStored:
        raise NotFound(f"no batch {batch_id}", hint="`evolve batch list` shows them") from None
    evidence = queries.list_evidence(store, batch_id=batch_id, limit=max_evidence)
    splits = Counter(case.split for case in detail.cases if case.split)
    return BatchView(batch=detail, evidence=tuple(evidence), splits=dict(splits))


def list_runs(
    sessions: SessionFactory, batch_id: str | None = None, limit: int = 200
) -> tuple[RunSummary, ...]:
    """Newest first."""
    with sessions() as session:
        query = select(RunRow).order_by(col(RunRow.created).desc(), col(RunRow.id).desc()).limit(limit)
        if batch_id is not None:
            query = query.where(RunRow.batch_id == batch_id)
        rows = session.exec(query).all()
        ids = [row.id for row in rows]
        latest: dict[str, StageRow] = {}
        stages = select(StageRow).where(col(StageRow.run_id).in_(ids)).order_by(*_STAGE_ORDER)
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
        stages = session.exec(select(StageRow).where(StageRow.run_id == run_id).order_by(*_STAGE_ORDER)).all()
        events = session.exec(
            select(RunEventRow)
            .where(RunEventRow.run_id == run_id, col(RunEventRow.id) > after_event)
            .order_by(col(RunEventRow.id).desc())
            .limit(max_events)
        ).all()
        found = select(CandidateRow).where(CandidateRow.run_id == run_id).order_by(col(CandidateRow.id))
        return RunDetail(
            run=_run(row, stages[-1] if stages else None),
            stages=tuple(_stage(stage) for stage in stages),
            events=tuple(_event(event) for event in reversed(events)),
            candidates=tuple(_candidate(candidate) for candidate in session.exec(found)),
        )


def list_candidates(
    sessions: SessionFactory, *, state: str | None = None, run_id: str | None = None, limit: int = 200
) -> tuple[CandidateSummary, ...]:
    """Newest first."""
    with sessions() as session:
        query = select(CandidateRow).order_by(col(CandidateRow.created).desc(), col(CandidateRow.id).desc())
        if state is not None:
            query = query.where(CandidateRow.state == state)
        if run_id is not None:
            query = query.where(CandidateRow.run_id == run_id)
        return tuple(_candidate(row) for row in session.exec(query.limit(limit)))


def get_candidate(sessions: SessionFactory, candidate_id: str) -> CandidateSummary:
    with sessions() as session:
        row = session.get(CandidateRow, candidate_id)
        if row is None:
            raise NotFound(f"no candidate {candidate_id}", hint="`evolve candidate list` shows them")
        return _candidate(row)


def history(
    settings: Settings, limit: int = 200, *, mechanical: bool = False, steps: bool = True
) -> tuple[HistoryEntry, ...]:
    """What both ledgers hold, newest first; a ledger that was never written has no entries. `mechanical` adds
    the rows by which a ledger keeps its own pointers and single-use keys; without `steps` a swap has its
    beginning and end alone, and what people did."""
    entries: list[HistoryEntry] = []
    for name, path in (("product", PRODUCT_LEDGER), ("promoter", PROMOTER_LEDGER)):
        kept = [
            entry
            for entry in _entries(settings.home / path)
            if (mechanical or entry.kind not in (POINTER_SET, KEY_USED)) and (steps or not _is_step(entry))
        ]
        entries += [_history_entry(name, entry) for entry in kept[-limit:]]
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.seq), reverse=True)[:limit])


def _is_step(entry: Entry) -> bool:
    return entry.kind == "swap" and not entry.who and str(entry.data.get("state")).lower() not in SWAP_ENDS


def list_swaps(settings: Settings) -> tuple[SwapView, ...]:
    """Every swap that the promoter ever journaled, newest first."""
    found: dict[str, list[Entry]] = {}
    for entry in _entries(settings.home / PROMOTER_LEDGER):
        if swap_id := entry.data.get("swap"):
            found.setdefault(str(swap_id), []).append(entry)
    views = [_swap(swap_id, entries) for swap_id, entries in found.items()]
    return tuple(sorted(views, key=lambda view: view.steps[0].seq, reverse=True))


def get_swap(settings: Settings, swap_id: str) -> SwapView:
    """A swap step by step, as the promoter journaled it."""
    for view in list_swaps(settings):
        if view.id == swap_id:
            return view
    raise NotFound(f"no swap {swap_id}", hint="`evolve audit tail` shows the ledger")


_STAGE_ORDER = (col(StageRow.iteration), col(StageRow.started), col(StageRow.id))


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


def _stage(row: StageRow) -> StageView:
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


def _history_entry(name: str, entry: Entry) -> HistoryEntry:
    return HistoryEntry(
        ledger=name,
        seq=entry.seq,
        at=aware(datetime.fromisoformat(entry.ts)),
        kind=entry.kind,
        who=entry.who,
        reason=entry.reason,
        data=dict(entry.data),
        hash=entry.hash,
    )


def _swap(swap_id: str, entries: list[Entry]) -> SwapView:
    steps: list[SwapStep] = []
    for entry in entries:
        step = _step(entry)
        last = steps[-1] if steps else None
        if last and last.done is None and last.state == step.state and step.done is not None:
            merged = {"done": step.done, "who": step.who or last.who, "reason": step.reason or last.reason}
            steps[-1] = last.model_copy(update={**merged, "detail": {**last.detail, **step.detail}})
        else:
            steps.append(step)
    return SwapView(id=swap_id, state=steps[-1].state, steps=tuple(steps))


def _step(entry: Entry) -> SwapStep:
    shown = {
        key: value for key, value in entry.data.items() if key not in ("swap", "state", "phase", "boot_id")
    }
    at = aware(datetime.fromisoformat(entry.ts))
    return SwapStep(
        seq=entry.seq,
        state=str(entry.data.get("state") or entry.kind),
        at=at,
        done=None if entry.data.get("phase") == "intent" else at,
        who=entry.who or str(entry.data.get("who") or ""),
        reason=entry.reason or str(entry.data.get("reason") or ""),
        detail=shown,
    )


def _entries(path: Path) -> list[Entry]:
    if not path.exists():
        return []
    try:
        with Ledger(path, create=False) as ledger:
            return ledger.entries()
    except (LedgerBroken, ValueError) as error:
        raise Broken(f"ledger {path}: {error}", hint="`evolve audit verify` says what is wrong") from None
