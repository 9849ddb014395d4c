"""Candidates, their changes, and what was decided on them."""

from datetime import datetime
from typing import Any

from sqlmodel import col, select

from evidence.blobs import BlobError
from evidence.store import Store
from evolve.errors import Broken, NotFound
from evolve.tables import CandidateRow
from evolve.views.record import Record, SessionFactory, aware


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


class CandidateDiff(Record):
    candidate: str
    diff: str


class Decided(Record):
    candidate: str
    state: str


class SwapAsked(Record):
    """The promoter took a request: the swap that answers it."""

    swap: str


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
        return tuple(candidate_view(row) for row in session.exec(query.limit(limit).offset(offset)))


def get_candidate(sessions: SessionFactory, candidate_id: str) -> CandidateSummary:
    with sessions() as session:
        row = session.get(CandidateRow, candidate_id)
        if row is None:
            raise NotFound(f"no candidate {candidate_id}", hint="`evolve candidate list` shows them")
        return candidate_view(row)


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


def candidate_view(row: CandidateRow) -> CandidateSummary:
    fields: dict[str, Any] = row.model_dump(include=set(CandidateSummary.model_fields))
    fields["created"] = aware(row.created)
    return CandidateSummary(**fields)
