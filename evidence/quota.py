"""One voice has one vote: how much of what a principal flags is counted, and what flags alone may open."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, col, select

from evidence.tables import BatchRow, FlagRow, TurnRow


@dataclass(frozen=True)
class FlagQuota:
    per_principal: int = 20
    """Flags of one principal that count within the window."""
    window_seconds: float = 86_400.0
    open_batches: int = 1
    """Open batches that one principal's flags alone may have started."""


def count_flags(session: Session, turns: Sequence[TurnRow], quota: FlagQuota) -> int:
    """Decide for each undecided flag on these turns whether it counts; returns how many do not."""
    known = {turn.request_id: turn for turn in turns}
    undecided = session.exec(
        select(FlagRow)
        .where(col(FlagRow.request_id).in_(list(known)), col(FlagRow.counted).is_(None))
        .order_by(col(FlagRow.ts), col(FlagRow.id))
    ).all()
    over = 0
    for flag in undecided:
        flag.principal = _principal(flag, known[flag.request_id])
        flag.counted = flag.rating == "down" and (flag.operator or _within(session, flag, quota))
        over += flag.rating == "down" and not flag.counted
        session.flush()
    return over


def _principal(flag: FlagRow, turn: TurnRow) -> str:
    """Who flags is who owns the session that the flag came from; the turn's owner when it came from
    nowhere.
    """
    return turn.principal if flag.principal in ("", f"session:{turn.session}") else flag.principal


def _within(session: Session, flag: FlagRow, quota: FlagQuota) -> bool:
    counted = session.exec(
        select(func.count())
        .select_from(FlagRow)
        .where(
            FlagRow.principal == flag.principal,
            col(FlagRow.counted).is_(True),
            col(FlagRow.ts) > flag.ts - quota.window_seconds,
            col(FlagRow.ts) < flag.ts + quota.window_seconds,
        )
    ).one()
    return counted < quota.per_principal


def may_open(session: Session, principal: str, quota: FlagQuota) -> bool:
    """May this principal's flags alone start another batch?"""
    opened = session.exec(
        select(func.count())
        .select_from(BatchRow)
        .where(BatchRow.opened_by == principal, BatchRow.state == "open")
    ).one()
    return opened < quota.open_batches
