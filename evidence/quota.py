"""One voice has one vote: how much of what a principal flags is counted, and what flags alone may open."""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
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
    for flag in undecided:
        flag.principal = _principal(flag, known[flag.request_id])
    counted = _counted(session, {flag.principal for flag in undecided})
    over = 0
    for flag in undecided:
        times = counted[flag.principal]
        used = bisect_left(times, flag.ts + quota.window_seconds) - bisect_right(
            times, flag.ts - quota.window_seconds
        )
        flag.counted = flag.rating == "down" and (flag.operator or used < quota.per_principal)
        over += flag.rating == "down" and not flag.counted
        if flag.counted:
            insort(times, flag.ts)
    session.flush()
    return over


def _counted(session: Session, principals: set[str]) -> dict[str, list[float]]:
    """When each principal's flags that count were given."""
    times: dict[str, list[float]] = defaultdict(list)
    found = session.exec(
        select(FlagRow.principal, FlagRow.ts)
        .where(col(FlagRow.principal).in_(sorted(principals)), col(FlagRow.counted).is_(True))
        .order_by(col(FlagRow.ts))
    )
    for principal, ts in found:
        times[principal].append(ts)
    return times


def _principal(flag: FlagRow, turn: TurnRow) -> str:
    """Who flags is who owns the session that the flag came from; the turn's owner when it came from
    nowhere.
    """
    return turn.principal if flag.principal in ("", f"session:{turn.session}") else flag.principal


def may_open(session: Session, principal: str, quota: FlagQuota) -> bool:
    """May this principal's flags alone start another batch?"""
    opened = session.exec(
        select(func.count())
        .select_from(BatchRow)
        .where(BatchRow.opened_by == principal, BatchRow.state == "open")
    ).one()
    return opened < quota.open_batches
