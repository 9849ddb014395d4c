"""Which earlier turns does a failure need? The fewest that we can find within a budget of replays.

Starts from what is most likely (nothing, the turn's own session, it with one other session), widens to the
turns of any session just before it, and then removes what is not needed with ddmin: Zeller and Hildebrandt, "Simplifying and
isolating failure-inducing input" (IEEE TSE 28(2), 2002).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evidence.cases import RecordedTurn

FIRST_WINDOW = 4
SINGLE_SESSIONS = 8
"""So many other sessions are tried one at a time: what leaks, mostly leaks from one."""


@dataclass(frozen=True)
class Minimised:
    """`reproduced` False: no prelude that was tried makes the failure happen; `prelude` is then the
    longest."""

    prelude: tuple[RecordedTurn, ...]
    reproduced: bool
    minimal: bool
    """No single turn can be taken away. False when the budget ended first."""
    replays: int


class _BudgetSpent(Exception):
    pass


class _Oracle:
    """Asks the predicate, once per distinct choice of turns, until the budget is spent."""

    def __init__(
        self,
        turns: Sequence[RecordedTurn],
        reproduces: Callable[[tuple[RecordedTurn, ...]], bool],
        budget: int,
    ) -> None:
        self._turns, self._reproduces, self._budget = turns, reproduces, budget
        self._known: dict[tuple[int, ...], bool] = {}

    @property
    def asked(self) -> int:
        return len(self._known)

    def __call__(self, chosen: tuple[int, ...]) -> bool:
        if chosen not in self._known:
            if self.asked >= self._budget:
                raise _BudgetSpent
            self._known[chosen] = self._reproduces(self.pick(chosen))
        return self._known[chosen]

    def pick(self, chosen: tuple[int, ...]) -> tuple[RecordedTurn, ...]:
        return tuple(self._turns[i] for i in chosen)


def minimise(
    earlier: Sequence[RecordedTurn],
    session: str,
    reproduces: Callable[[tuple[RecordedTurn, ...]], bool],
    *,
    budget: int,
) -> Minimised:
    """The prelude of a turn of `session`, chosen from the `earlier` turns of its process, in their order.

    `reproduces` replays the turn after a prelude and says whether the same failure shows. It is asked at most
    `budget` times. Deterministic whenever it is.
    """
    oracle = _Oracle(earlier, reproduces, budget)
    best: tuple[int, ...] | None = None
    minimal = False
    try:
        for start in _starts(earlier, session):
            if oracle(start):
                best = start
                break
        if best is not None:
            for smaller in _shrink(best, oracle):
                best = smaller
            minimal = True
    except _BudgetSpent:
        pass
    if best is None:
        return Minimised(tuple(earlier), False, False, oracle.asked)
    return Minimised(oracle.pick(best), True, minimal, oracle.asked)


def _starts(earlier: Sequence[RecordedTurn], session: str) -> Iterator[tuple[int, ...]]:
    """Nothing; the own session; it with one other, latest first; then ever more of what came just before."""
    own = tuple(i for i, turn in enumerate(earlier) if turn.session == session)
    yield ()
    yield own
    others = list(dict.fromkeys(turn.session for turn in reversed(earlier) if turn.session != session))
    for other in others[:SINGLE_SESSIONS]:
        yield tuple(i for i, turn in enumerate(earlier) if turn.session in (session, other))
    window = FIRST_WINDOW
    while True:
        recent = range(max(0, len(earlier) - window), len(earlier))
        yield tuple(sorted({*own, *recent}))
        if window >= len(earlier):
            return
        window *= 2


def _shrink(items: tuple[int, ...], fails: Callable[[tuple[int, ...]], bool]) -> Iterator[tuple[int, ...]]:
    """ddmin: yields ever smaller choices that still fail; the last one is 1-minimal."""
    parts = 2
    yield items
    while len(items) >= 2:
        chunks = _split(items, parts)
        complements = [tuple(i for i in items if i not in chunk) for chunk in map(set, chunks)]
        if smaller := next((chunk for chunk in chunks if fails(chunk)), None):
            items, parts = smaller, 2
        elif smaller := next((rest for rest in complements if parts > 2 and fails(rest)), None):
            items, parts = smaller, max(parts - 1, 2)
        elif parts < len(items):
            parts = min(len(items), parts * 2)
            continue
        else:
            return
        yield items


def _split(items: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
    """`parts` runs of nearly equal length."""
    cuts = [len(items) * i // parts for i in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(cuts)]
