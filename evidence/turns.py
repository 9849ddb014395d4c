"""Assembles turns from what both logs said about them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlmodel import Session, col, select

from evidence.cases import RecordedTurn
from evidence.tables import CallRow, EventRow, FlagRow, TurnRow


def assemble(session: Session, turns: Sequence[TurnRow]) -> dict[str, dict[str, Any]]:
    """What signals and rules look at, by request id. `flags` holds the counted complaints only."""
    ids = [turn.request_id for turn in turns]
    views: dict[str, dict[str, Any]] = {
        turn.request_id: {
            "request_id": turn.request_id,
            "session": turn.session,
            "path": turn.path,
            "request": turn.body or {},
            "reply": turn.reply,
            "status": turn.status,
            "latency": turn.latency,
            "clock": turn.clock,
            "timed_out": turn.timed_out,
            "lost": turn.lost and not turn.ended,
            "events": [],
            "calls": [],
            "flags": [],
        }
        for turn in turns
    }
    for event in session.exec(select(EventRow).where(col(EventRow.turn).in_(ids)).order_by(col(EventRow.n))):
        if event.kind == "turn_started":
            views[event.turn]["events"].clear()  # accepted again after a crash: the last attempt counts
        views[event.turn]["events"].append(event.body)
    for call in session.exec(
        select(CallRow).where(col(CallRow.request_id).in_(ids)).order_by(col(CallRow.n))
    ):
        views[call.request_id]["calls"].append(call.body)
    flags = select(FlagRow).where(col(FlagRow.request_id).in_(ids), FlagRow.rating == "down")
    for flag in session.exec(flags.where(col(FlagRow.counted).is_(True)).order_by(col(FlagRow.id))):
        views[flag.request_id]["flags"].append({"comment": flag.comment, "principal": flag.principal})
    return views


def recorded(turn: TurnRow) -> RecordedTurn:
    return RecordedTurn(
        request_id=turn.request_id,
        session=turn.session,
        path=turn.path,
        body=turn.body or {},
        status=turn.status,
        reply=turn.reply,
        started=turn.clock,
        latency=turn.latency,
    )


def earlier_turns(session: Session, turn: TurnRow, *, whole_process: bool) -> list[TurnRow]:
    """The prelude that a turn may need, in order: its session's turns so far and, of any session, those
    since its process started.
    """
    same_session = col(TurnRow.session) == turn.session
    scope = same_session | (col(TurnRow.process_id) == turn.process_id) if whole_process else same_session
    found = session.exec(
        select(TurnRow)
        .where(scope, col(TurnRow.position) < turn.position, col(TurnRow.position) > 0)
        .order_by(col(TurnRow.position))
    )
    return [earlier for earlier in found if earlier.body is not None]


def by_request(turns: Iterable[TurnRow]) -> dict[str, TurnRow]:
    return {turn.request_id: turn for turn in turns}


def sessions_of(turns: Iterable[TurnRow]) -> dict[str, list[TurnRow]]:
    grouped: dict[str, list[TurnRow]] = defaultdict(list)
    for turn in turns:
        grouped[turn.session].append(turn)
    return grouped
