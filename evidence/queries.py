"""Looking at evidence and batches: records for the command line and the page."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from evidence.assess import signals_of
from evidence.batch import batch_row
from evidence.cases import RecordedCall
from evidence.records import BatchChange, BatchDetail, BatchRecord, CaseRecord, EvidenceDetail, EvidenceRecord
from evidence.store import NotFound, Store
from evidence.tables import AsideRow, BatchRow, CallRow, CaseRow, ChangeRow, EventRow, EvidenceRow, TurnRow
from evidence.turns import earlier_turns, recorded


def _fields(row: EvidenceRow) -> dict[str, Any]:
    names = [
        "id",
        "request_id",
        "fingerprint",
        "title",
        "session",
        "principal",
        "image",
        "batch_id",
        "held",
        "ts",
        "at",
    ]
    return {name: getattr(row, name) for name in names} | {"signals": signals_of(row)}


def list_evidence(
    store: Store,
    *,
    batch_id: str | None = None,
    fingerprint: str | None = None,
    session_id: str | None = None,
    limit: int = 100,
    before: str | None = None,
) -> list[EvidenceRecord]:
    """Newest first; `before` is the id of the last one seen."""
    query = select(EvidenceRow).order_by(col(EvidenceRow.id).desc()).limit(limit)
    for column, wanted in (
        (EvidenceRow.batch_id, batch_id),
        (EvidenceRow.fingerprint, fingerprint),
        (EvidenceRow.session, session_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(col(EvidenceRow.id) < before)
    with store.read() as session:
        return [EvidenceRecord(**_fields(row)) for row in session.exec(query)]


def get_evidence(store: Store, evidence_id: str) -> EvidenceDetail:
    with store.read() as session:
        row = session.get(EvidenceRow, evidence_id)
        if row is None:
            raise NotFound(f"no evidence {evidence_id}")
        turn = session.get(TurnRow, row.request_id)
        events = session.exec(
            select(EventRow).where(EventRow.turn == row.request_id).order_by(col(EventRow.n))
        )
        calls = session.exec(
            select(CallRow).where(CallRow.request_id == row.request_id).order_by(col(CallRow.n))
        )
        return EvidenceDetail(
            **_fields(row),
            turn=recorded(turn) if turn and turn.body is not None else None,
            events=tuple(event.body for event in events),
            calls=tuple(RecordedCall.model_validate(call.body) for call in calls),
            prelude_turns=len(earlier_turns(session, turn, whole_process=True)) if turn else 0,
        )


def _counts(session: Session, batch_ids: list[str]) -> Mapping[str, tuple[int, int, int]]:
    rows = session.exec(
        select(
            EvidenceRow.batch_id,
            func.count(),
            func.count(func.distinct(EvidenceRow.session)),
            func.count(func.distinct(EvidenceRow.principal)),
        )
        .where(col(EvidenceRow.batch_id).in_(batch_ids))
        .group_by(col(EvidenceRow.batch_id))
    )
    return {str(batch): (cases, sessions, voices) for batch, cases, sessions, voices in rows}


def _batch_fields(row: BatchRow, counts: tuple[int, int, int]) -> dict[str, Any]:
    names = [
        "id",
        "fingerprint",
        "title",
        "state",
        "reason",
        "sealed_digest",
        "opened_by",
        "tagged_by",
        "at",
        "changed",
    ]
    fields = {name: getattr(row, name) for name in names}
    return fields | dict(zip(("evidence", "sessions", "principals"), counts, strict=True))


def list_batches(
    store: Store, *, state: str | None = None, limit: int = 200, offset: int = 0
) -> list[BatchRecord]:
    """Newest first."""
    query = select(BatchRow).order_by(col(BatchRow.id).desc()).limit(limit).offset(offset)
    if state is not None:
        query = query.where(BatchRow.state == state)
    with store.read() as session:
        rows = session.exec(query).all()
        counts = _counts(session, [row.id for row in rows])
        return [BatchRecord(**_batch_fields(row, counts.get(row.id, (0, 0, 0)))) for row in rows]


def get_batch(store: Store, batch_id: str) -> BatchDetail:
    with store.read() as session:
        row = batch_row(session, batch_id)
        evidence = session.exec(
            select(EvidenceRow.id).where(EvidenceRow.batch_id == batch_id).order_by(col(EvidenceRow.id))
        )
        cases = session.exec(select(CaseRow).where(CaseRow.batch_id == batch_id).order_by(col(CaseRow.id)))
        changes = session.exec(
            select(ChangeRow).where(ChangeRow.subject == batch_id).order_by(col(ChangeRow.n))
        )
        return BatchDetail(
            **_batch_fields(row, _counts(session, [batch_id]).get(batch_id, (0, 0, 0))),
            evidence_ids=tuple(evidence),
            cases=tuple(case_record(case) for case in cases),
            changes=tuple(
                BatchChange(kind=c.kind, who=c.who, reason=c.reason, data=c.data or {}, at=c.at)
                for c in changes
            ),
        )


def case_record(row: CaseRow) -> CaseRecord:
    return CaseRecord.model_validate(
        {name: getattr(row, name) for name in CaseRecord.model_fields if name != "prelude"}
        | {"prelude": None if row.prelude is None else tuple(row.prelude)}
    )


def list_aside(store: Store, *, limit: int = 100) -> list[dict[str, object]]:
    """Lines that could not be used, newest first, with the reason and the beginning of each."""
    with store.read() as session:
        rows = session.exec(select(AsideRow).order_by(col(AsideRow.n).desc()).limit(limit))
        return [row.model_dump() for row in rows]


def count_turns(store: Store) -> dict[str, int]:
    """How many turns are in each state: pending, failed, worked."""
    with store.read() as session:
        rows = session.exec(select(TurnRow.state, func.count()).group_by(col(TurnRow.state)))
        return dict(rows.all())
