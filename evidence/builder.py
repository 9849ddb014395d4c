"""Builds the content of a case from stored turns: input, prelude, cassette and graders."""

from collections.abc import Callable, Sequence

from sqlmodel import Session, col, select

from evidence.assess import signals_of
from evidence.canonical import digest
from evidence.cases import CaseContent, Cassette, GraderRef, MissPolicy, RecordedCall, RecordedTurn
from evidence.store import NotFound
from evidence.tables import CallRow, CaseRow, CatalogRow, EvidenceRow, TurnRow
from evidence.turns import earlier_turns, recorded

GradersFor = Callable[[CaseContent], Sequence[GraderRef]]
"""Which graders apply to a case; the caller knows the configuration."""


def turn_of(session: Session, request_id: str) -> TurnRow:
    turn = session.get(TurnRow, request_id)
    if turn is None:
        raise NotFound(f"no turn {request_id}")
    return turn


def prelude_rows(session: Session, case: CaseRow) -> list[TurnRow]:
    """All turns that the case may need before it, in order. What worked needs its own session only."""
    return earlier_turns(session, turn_of(session, case.request_id), whole_process=case.role == "failure")


def chosen_prelude(session: Session, case: CaseRow) -> list[TurnRow]:
    """The confirmed prelude; before it was confirmed, the turns of the case's own session."""
    if case.prelude is None:
        return earlier_turns(session, turn_of(session, case.request_id), whole_process=False)
    rows = session.exec(select(TurnRow).where(col(TurnRow.request_id).in_(case.prelude))).all()
    found = {row.request_id: row for row in rows}
    return [found[request_id] for request_id in case.prelude]


def cassette(session: Session, turns: Sequence[TurnRow]) -> Cassette:
    """The turns' calls with order and latency as the gateway logged them, and what discovery answered
    then.
    """
    ids = [turn.request_id for turn in turns]
    rows = session.exec(select(CallRow).where(col(CallRow.request_id).in_(ids)))
    calls = sorted((RecordedCall.model_validate(row.body) for row in rows), key=lambda call: call.start_order)
    return Cassette(calls=tuple(calls), catalog=_catalog(session, turns[-1]))


def _catalog(session: Session, turn: TurnRow) -> dict[str, object]:
    """The newest answer of discovery before the turn ended; the first one ever when it came later."""
    before = select(CatalogRow).where(col(CatalogRow.ts) <= turn.clock + turn.latency)
    found = session.exec(before.order_by(col(CatalogRow.ts).desc(), col(CatalogRow.n).desc())).first()
    found = found or session.exec(select(CatalogRow).order_by(col(CatalogRow.ts), col(CatalogRow.n))).first()
    return dict(found.body) if found else {}


def content(
    session: Session,
    case: CaseRow,
    prelude: Sequence[TurnRow],
    graders_for: GradersFor | None = None,
    on_tool_miss: MissPolicy = "fail",
) -> CaseContent:
    """The case with this prelude. `on_tool_miss`: what a replay does with a tool call that was not recorded."""
    turn = turn_of(session, case.request_id)
    row = session.get(EvidenceRow, case.evidence_id) if case.evidence_id else None
    made = CaseContent(
        id=case.id,
        evidence_id=case.evidence_id,
        fingerprint=row.fingerprint if row else "",
        turn=recorded(turn),
        prelude=tuple(recorded(earlier) for earlier in prelude),
        cassette=cassette(session, [*prelude, turn]),
        signals=signals_of(row) if row else (),
        on_tool_miss=on_tool_miss,
    )
    return made.model_copy(update={"graders": tuple(graders_for(made))}) if graders_for else made


def case_row(session: Session, case_id: str) -> CaseRow:
    case = session.get(CaseRow, case_id)
    if case is None:
        raise NotFound(f"no case {case_id}")
    return case


def light_digest(turns: Sequence[RecordedTurn]) -> str:
    """What `CaseContent.input_digest` will be, without building the cassette."""
    return digest([[t.path, t.body] for t in turns])
