"""Batches: what they gathered, and what they still lack."""

from collections import Counter

from evidence import queries
from evidence.draft import readiness
from evidence.records import BatchDetail, BatchRecord, EvidenceRecord, Readiness
from evidence.store import NotFound as NotStored
from evidence.store import Store
from evolve.errors import NotFound
from evolve.settings import Settings
from evolve.views.record import Record


class BatchView(Record):
    batch: BatchDetail
    evidence: tuple[EvidenceRecord, ...]
    splits: dict[str, int]
    """Cases by split; before sealing, confirmed ones have none yet."""


class BatchReport(BatchDetail):
    readiness: Readiness
    """What it still lacks to be sealed."""


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
