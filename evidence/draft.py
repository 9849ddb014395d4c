"""Before a batch is sealed: which cases it offers, and what the caller found when it replayed them on the
baseline.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from sqlmodel import Session, col, select

from evidence.batch import batch_row
from evidence.builder import GradersFor, case_row, chosen_prelude, content, light_digest, prelude_rows
from evidence.canonical import new_id, utcnow
from evidence.cases import CaseContent, MissPolicy, RecordedTurn
from evidence.changes import note, publish
from evidence.queries import case_record
from evidence.records import Draft, Readiness, Role
from evidence.split import SealPolicy
from evidence.store import NotFound, Store, insert_new
from evidence.tables import CaseRow, EvidenceRow, FlagRow, TurnRow
from evidence.turns import earlier_turns, recorded

_POOL = 4
"""Turns looked at for each regression case wanted."""
_T = TypeVar("_T")


def take_turns(items: Iterable[_T], key: Callable[[_T], str]) -> list[_T]:
    """The items reordered so that no key comes twice before each came once."""
    groups: dict[str, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [item for row in zip_longest(*groups.values()) for item in row if item is not None]


def draft(store: Store, batch_id: str, policy: SealPolicy | None = None) -> Draft:
    """List candidate cases: distinct failures of the batch, and distinct turns that worked.

    May be called again for more.
    """
    policy = policy or SealPolicy()
    with store.write() as session:
        batch_row(session, batch_id)
        failures = _failures(session, batch_id, 2 * (policy.max_visible + policy.max_held_out))
        worked = _worked(
            session, policy.max_regression + policy.max_exemplary, {turn.input_digest for turn, _ in failures}
        )
        _insert(session, batch_id, "failure", failures)
        _insert(session, batch_id, "regression", [(turn, "") for turn in worked])
        rows = session.exec(select(CaseRow).where(CaseRow.batch_id == batch_id).order_by(col(CaseRow.id)))
        records = [case_record(row) for row in rows]
    return Draft(
        batch_id=batch_id,
        failures=tuple(r for r in records if r.role == "failure"),
        regression=tuple(r for r in records if r.role == "regression"),
    )


def _insert(session: Session, batch_id: str, role: Role, found: Sequence[tuple[TurnRow, str]]) -> None:
    rows = [
        {
            "id": new_id(),
            "batch_id": batch_id,
            "evidence_id": evidence_id,
            "request_id": turn.request_id,
            "role": role,
            "state": "candidate",
            "reason": "",
            "input_digest": _digest_with_session(session, turn),
            "split": "",
            "decided": 0,
            "at": utcnow().isoformat(),
        }
        for turn, evidence_id in found
    ]
    insert_new(session, CaseRow, rows)


def _digest_with_session(session: Session, turn: TurnRow) -> str:
    earlier = earlier_turns(session, turn, whole_process=False)
    return light_digest([recorded(t) for t in (*earlier, turn)])


def _failures(session: Session, batch_id: str, limit: int) -> list[tuple[TurnRow, str]]:
    """Turns of the batch with their evidence, one voice and one session after the other."""
    found = session.exec(
        select(TurnRow, EvidenceRow)
        .where(EvidenceRow.batch_id == batch_id, EvidenceRow.request_id == TurnRow.request_id)
        .where(col(TurnRow.body).is_not(None))
        .order_by(col(TurnRow.position))
    ).all()
    ordered = take_turns(take_turns(found, lambda p: p[0].session), lambda p: p[1].principal)
    return [(turn, row.id) for turn, row in _distinct(session, ordered, lambda p: p[0], limit)]


def _worked(session: Session, limit: int, failing: set[str]) -> list[TurnRow]:
    """Turns that worked, newest first, taking turns over what kind of turn they were."""
    complained = select(FlagRow.request_id).where(FlagRow.rating == "down")
    pool = session.exec(
        select(TurnRow)
        .where(TurnRow.state == "worked", TurnRow.status == 200, col(TurnRow.body).is_not(None))
        .where(col(TurnRow.request_id).not_in(complained))
        .order_by(col(TurnRow.position).desc())
        .limit(_POOL * limit)
    ).all()
    fitting = [turn for turn in pool if turn.input_digest not in failing]
    return _distinct(session, take_turns(fitting, lambda t: t.shape), lambda t: t, limit)


def _distinct(
    session: Session, items: Iterable[_T], turn_of_item: Callable[[_T], TurnRow], limit: int
) -> list[_T]:
    seen: set[str] = set()
    kept: list[_T] = []
    for item in items:
        if len(kept) >= limit:
            break
        key = _digest_with_session(session, turn_of_item(item))
        if key not in seen:
            seen.add(key)
            kept.append(item)
    return kept


def prelude_candidates(store: Store, case_id: str) -> tuple[RecordedTurn, ...]:
    """Every turn that the case may need before it, in order: the caller minimises."""
    with store.read() as session:
        return tuple(recorded(turn) for turn in prelude_rows(session, case_row(session, case_id)))


def case_content(
    store: Store,
    case_id: str,
    prelude: Sequence[RecordedTurn] | None = None,
    graders_for: GradersFor | None = None,
    on_tool_miss: MissPolicy = "fail",
) -> CaseContent:
    """The case ready for a replay, with this prelude; None: the confirmed one, else its own session's
    turns.
    """
    with store.read() as session:
        case = case_row(session, case_id)
        if prelude is None:
            return content(session, case, chosen_prelude(session, case), graders_for, on_tool_miss)
        rows = _rows_of(session, [turn.request_id for turn in prelude])
        return content(session, case, rows, graders_for, on_tool_miss)


def _rows_of(session: Session, request_ids: Sequence[str]) -> list[TurnRow]:
    rows = session.exec(select(TurnRow).where(col(TurnRow.request_id).in_(request_ids))).all()
    found = {row.request_id: row for row in rows}
    if missing := [request_id for request_id in request_ids if request_id not in found]:
        raise NotFound(f"no turn {missing[0]}")
    return [found[request_id] for request_id in request_ids]


def confirm_case(
    store: Store, case_id: str, prelude: Sequence[RecordedTurn], reproduced: bool, *, reason: str = ""
) -> None:
    """What replays on the baseline showed: the case happens again after this prelude, or it does not and
    is refused.
    """
    with store.write() as session:
        case = case_row(session, case_id)
        rows = _rows_of(session, [turn.request_id for turn in prelude])
        _settle(session, case, rows, "confirmed" if reproduced else "refused", reason)


def skip_check(store: Store, batch_id: str, case_ids: Sequence[str], *, who: str, reason: str) -> None:
    """Admit cases that nobody replayed; the sealed batch says so."""
    with store.write() as session:
        for case_id in case_ids:
            case = case_row(session, case_id)
            if case.batch_id != batch_id:
                raise NotFound(f"no case {case_id} in batch {batch_id}")
            if case.state == "candidate":
                _settle(session, case, chosen_prelude(session, case), "unchecked", reason)
        note(session, "batch.unchecked", batch_id, who, reason, {"cases": len(case_ids)})
    publish(store)


def _settle(session: Session, case: CaseRow, prelude: Sequence[TurnRow], state: str, reason: str) -> None:
    turn = session.get_one(TurnRow, case.request_id)
    case.prelude = [row.request_id for row in prelude]
    case.input_digest = light_digest([recorded(t) for t in (*prelude, turn)])
    case.state, case.reason = state, reason[:500]
    session.add(case)


def readiness(store: Store, batch_id: str, policy: SealPolicy | None = None) -> Readiness:
    """Would the batch, as far as one can tell before any replay, seal by itself?"""
    policy = policy or SealPolicy()
    with store.read() as session:
        batch = batch_row(session, batch_id)
        wanted = policy.min_visible + policy.min_held_out
        failures = _failures(session, batch_id, wanted)
        worked = _worked(session, policy.min_regression, {turn.input_digest for turn, _ in failures})
        voices = set(session.exec(select(EvidenceRow.principal).where(EvidenceRow.batch_id == batch_id)))
        state, tagged = batch.state, batch.tagged_by
    missing = list(
        chain(
            [f"it is {state}"] if state != "open" else [],
            [f"{len(failures)} of {wanted} distinct failures"] if len(failures) < wanted else [],
            [f"{len(worked)} of {policy.min_regression} turns that worked"]
            if len(worked) < policy.min_regression
            else [],
            [f"{len(voices)} of {policy.min_principals} users or sessions, and no operator's tag"]
            if len(voices) < policy.min_principals and not tagged
            else [],
        )
    )
    return Readiness(
        ready=not missing,
        missing=tuple(missing),
        failures=len(failures),
        regression=len(worked),
        principals=len(voices),
    )
