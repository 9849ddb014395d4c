"""Judges turns that changed: failed turns become evidence and find their batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from evidence.canonical import digest, new_id, utcnow
from evidence.cases import Signal
from evidence.changes import note
from evidence.fingerprint import fingerprint, leading, shape
from evidence.quota import FlagQuota, count_flags, may_open
from evidence.redact import Redactor
from evidence.signals import Judgement, LoadedRule, judge
from evidence.tables import BatchRow, EvidenceRow, ProcessRow, TurnRow
from evidence.turns import assemble

_PORTION = 200


@dataclass
class Assessed:
    turns: int = 0
    evidence: int = 0
    batches: int = 0
    flags_over_quota: int = 0
    broken_rules: set[str] = field(default_factory=set)


def assess_some(
    session: Session, rules: Sequence[LoadedRule], redactor: Redactor, quota: FlagQuota, done: Assessed
) -> bool:
    """Judge one portion of the turns that changed; False when none was left."""
    turns = session.exec(
        select(TurnRow)
        .where(col(TurnRow.dirty).is_(True), col(TurnRow.ended).is_(True) | col(TurnRow.lost).is_(True))
        .order_by(col(TurnRow.position), col(TurnRow.request_id))
        .limit(_PORTION)
    ).all()
    if not turns:
        return False
    done.flags_over_quota += count_flags(session, turns, quota)
    views = assemble(session, turns)
    ids = [turn.request_id for turn in turns]
    rows = session.exec(select(EvidenceRow).where(col(EvidenceRow.request_id).in_(ids)))
    known = {row.request_id: row for row in rows}
    for turn in turns:
        view = views[turn.request_id]
        judgement = judge(view, rules)
        done.broken_rules.update(judgement.broken_rules)
        done.turns += 1
        turn.dirty = False
        turn.input_digest = digest([turn.path, turn.body])
        turn.shape = shape(view)[:500]
        turn.state = "failed" if judgement.signals else "worked"
        _record(session, turn, known.get(turn.request_id), view, judgement, redactor, quota, done)
    return True


def _record(
    session: Session,
    turn: TurnRow,
    row: EvidenceRow | None,
    view: dict[str, Any],
    judgement: Judgement,
    redactor: Redactor,
    quota: FlagQuota,
    done: Assessed,
) -> None:
    if not judgement.signals:
        if row is not None and (row.batch_id is None or _still_open(session, row.batch_id)):
            session.delete(row)  # it works after all, and nothing was built on it yet
        return
    signals = [s.model_copy(update={"reason": redactor.text(s.reason)}) for s in judgement.signals]
    if row is None:
        row = _new_evidence(session, turn)
        done.evidence += 1
    row.signals = [s.model_dump(mode="json") for s in signals]
    row.flag_only = all(s.kind == "user_flag" for s in signals)
    lead = leading(signals)
    row.title = f"{lead.kind} {lead.name}: {lead.reason}"[:200]
    group = fingerprint(view, signals)
    if group != row.fingerprint:
        row.fingerprint = group
        if _still_open(session, row.batch_id):
            row.batch_id = None
    session.add(row)
    session.flush()
    if row.batch_id is None:
        done.batches += _place(session, row, quota)


def _new_evidence(session: Session, turn: TurnRow) -> EvidenceRow:
    process = session.get(ProcessRow, turn.process_id) if turn.process_id else None
    return EvidenceRow(
        id=new_id(),
        request_id=turn.request_id,
        fingerprint="",
        title="",
        session=turn.session,
        principal=turn.principal,
        image=process.digest if process else "",
        ts=turn.clock,
        at=utcnow().isoformat(),
    )


def _still_open(session: Session, batch_id: str | None) -> bool:
    batch = session.get(BatchRow, batch_id) if batch_id else None
    return batch is not None and batch.state == "open"


def _place(session: Session, row: EvidenceRow, quota: FlagQuota) -> int:
    """Put evidence into its group's open batch; returns how many batches were opened for it."""
    batches = session.exec(
        select(BatchRow).where(
            BatchRow.fingerprint == row.fingerprint, col(BatchRow.state).in_(["open", "dismissed"])
        )
    ).all()
    batch = next(iter(sorted(batches, key=lambda b: b.state != "open")), None)
    if batch is not None:
        row.batch_id, row.held = batch.id, ""
        return 0
    if row.flag_only and not may_open(session, row.principal, quota):
        row.held = "quota: this principal's flags have opened a batch already"
        return 0
    now = utcnow().isoformat()
    batch = BatchRow(
        id=new_id(),
        fingerprint=row.fingerprint,
        title=row.title,
        opened_by=row.principal if row.flag_only else "",
        at=now,
        changed=now,
    )
    session.add(batch)
    opened = {"fingerprint": batch.fingerprint, "title": batch.title}
    note(session, "batch.opened", batch.id, "intake", f"first seen in turn {row.request_id}", opened)
    session.flush()
    waiting = session.exec(
        select(EvidenceRow).where(
            EvidenceRow.fingerprint == row.fingerprint, col(EvidenceRow.batch_id).is_(None)
        )
    )
    for other in (row, *waiting):
        other.batch_id, other.held = batch.id, ""
    return 1


def signals_of(row: EvidenceRow) -> tuple[Signal, ...]:
    return tuple(Signal.model_validate(s) for s in row.signals or ())
