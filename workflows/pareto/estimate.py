"""What a configuration comes to, composed along the graph from what each of its steps took under its alternative.

Time: the calls of a run, laid out as the engine lays them out. A step begins when those that it needs are over, the calls
of a map run side by side, a retry begins when the attempt before it ended, and all together have so many slots. So
sequences add up, the longest of parallel ways counts, and a map of many items takes as many rounds as the slots want.
Money, tokens and calls add up. A branch counts case by case, as it went: arms weigh as often as they were taken.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from workflows.pareto.bench import Played
from workflows.pareto.meter import MILLI, Made
from workflows.points import Estimate, Latency

Track = tuple[float, ...]
"""Calls one after the other, in seconds."""
Demand = tuple[tuple[Track, ...], ...]
"""Of a step: stages, one after the other, of tracks side by side."""
RECOVERY = "policy.recovery"


def demand(made: Iterable[Made]) -> Demand:
    """Of one step in one run: each item of a map is a track of its attempts; a recovery begins when they are all over."""
    tracks: dict[str, list[Made]] = {}
    for one in made:
        tracks.setdefault(one.at.place, []).append(one)
    ordered = {
        place: tuple(one.seconds for one in sorted(track, key=lambda one: one.at.attempt))
        for place, track in tracks.items()
    }
    recovery = ordered.pop(RECOVERY, None)
    first = tuple(ordered[place] for place in sorted(ordered, key=_item))
    return tuple(stage for stage in (first, (recovery,) if recovery else ()) if stage)


def makespan(needs: Mapping[str, frozenset[str]], demands: Mapping[str, Demand], slots: int) -> float:
    """Seconds until the last step is over. `needs` in an order in which each stands behind those that it names; a step
    without a demand takes no time."""
    return _Layout(needs, demands, slots).end()


class _Layout:
    def __init__(
        self, needs: Mapping[str, frozenset[str]], demands: Mapping[str, Demand], slots: int
    ) -> None:
        self._stages = {name: list(reversed(demands.get(name, ()))) for name in needs}
        self._waits = {name: len(needed) for name, needed in needs.items()}
        self._followers: dict[str, list[str]] = {name: [] for name in needs}
        for name, needed in needs.items():
            for other in needed:
                self._followers[other].append(name)
        self._open = dict.fromkeys(needs, 0)
        """Tracks of the stage under way that are not over."""
        self._queue: deque[tuple[str, Track]] = deque()
        self._running: list[tuple[float, int, str, Track]] = []
        self._free, self._now, self._count = slots, 0.0, 0

    def end(self) -> float:
        for name in [name for name, waits in self._waits.items() if waits == 0]:
            self._next_stage(name)
        self._fill()
        while self._running:
            self._now, _, name, rest = heapq.heappop(self._running)
            self._free += 1
            if rest:
                self._queue.append((name, rest))
            else:
                self._open[name] -= 1
                if self._open[name] == 0:
                    self._next_stage(name)
            self._fill()
        return self._now

    def _next_stage(self, name: str) -> None:
        if self._stages[name]:
            stage = self._stages[name].pop()
            self._open[name] = len(stage)
            self._queue.extend((name, track) for track in stage)
            return
        for follower in self._followers[name]:
            self._waits[follower] -= 1
            if self._waits[follower] == 0:
                self._next_stage(follower)

    def _fill(self) -> None:
        while self._queue and self._free:
            name, (first, *rest) = self._queue.popleft()
            self._free -= 1
            self._count += 1
            heapq.heappush(self._running, (self._now + first, self._count, name, tuple(rest)))


class Cost(NamedTuple):
    """Of one case; a mean over cases in the same units is one, too."""

    seconds: float
    tool_calls: int
    tokens: int
    milli_micro_usd: int


def cost(needs: Mapping[str, frozenset[str]], calls: Mapping[str, Sequence[Made]], slots: int) -> Cost:
    """Of a run in which each step makes these calls."""
    made = [one for name in needs for one in calls.get(name, ())]
    demands = {name: demand(calls[name]) for name in needs if calls.get(name)}
    return Cost(
        makespan(needs, demands, slots),
        sum(one.tool_calls for one in made),
        sum(one.tokens for one in made),
        sum(one.milli_micro_usd for one in made),
    )


def summary(verified: Sequence[bool], costs: Sequence[Cost]) -> Estimate:
    """Over all cases."""
    n = len(costs)
    return Estimate(
        accuracy=sum(verified) / n,
        latency_ms=latency([one.seconds for one in costs]),
        cost_micro_usd=sum(one.milli_micro_usd for one in costs) / n / MILLI,
        tokens=sum(one.tokens for one in costs) / n,
        tool_calls=sum(one.tool_calls for one in costs) / n,
    )


def latency(seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)
    at = {share: ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.9)}
    return Latency(p50=round(at[0.5] * 1000, 3), p90=round(at[0.9] * 1000, 3))


def spent(played: Played) -> Cost:
    """What a run took that was really made."""
    return Cost(
        played.seconds,
        sum(one.tool_calls for one in played.made),
        sum(one.tokens for one in played.made),
        sum(one.milli_micro_usd for one in played.made),
    )


def _item(place: str) -> tuple[int, str]:
    """Items in their order, not in that of their digits."""
    return len(place), place
