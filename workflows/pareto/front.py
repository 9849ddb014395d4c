"""Which choices are worth measuring: those that, as estimated, no other beats in everything."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import TypeVar

from workflows.pareto.space import Choice, Space
from workflows.points import Estimate, Point

EXACT = 512
"""Choices up to which all are estimated."""
STARTS, BREADTH, MOST = 16, 48, 4096
"""Beyond: random choices to begin with, choices whose neighbours are looked at in a round, estimates at all."""
T = TypeVar("T")
Score = tuple[float, ...]
"""Less is better, in each place."""


def of_estimate(one: Estimate) -> Score:
    return -one.accuracy, one.cost_micro_usd, one.latency_ms.p50, one.latency_ms.p90


def of_point(one: Point) -> Score:
    return -one.accuracy.value, one.cost_micro_usd, one.latency_ms.p50, one.latency_ms.p90


def beats(one: Score, other: Score) -> bool:
    """At least as good in everything, and better in something."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def undominated(found: Iterable[T], score: Callable[[T], Score]) -> list[T]:
    """Those that none of the others beats, the best in the first place of the score first; of equals the first."""
    front: list[tuple[Score, T]] = []
    for mine, one in sorted(((score(one), one) for one in found), key=lambda pair: pair[0]):
        # what beats another stands before it in this order
        if not any(theirs == mine or beats(theirs, mine) for theirs, _ in front):
            front.append((mine, one))
    return [one for _, one in front]


def estimated(
    space: Space, estimate: Callable[[Choice], Estimate | None], seed: int
) -> dict[Choice, Estimate]:
    """All choices that can be estimated, where they are few; else what a search along the front comes by: from some random
    choices and the workflow's own, the neighbours of what is best so far, round by round, until nothing new is."""
    if space.size <= EXACT:
        every = product(*(space.names(step) for step in space.steps))
        return {choice: found for choice in every if (found := estimate(choice)) is not None}
    dice = random.Random(seed)
    seen: dict[Choice, Estimate] = {}
    looked_at: set[Choice] = set()
    waiting = list(space.singles())
    waiting += [tuple(dice.choice(space.names(step)) for step in space.steps) for _ in range(STARTS)]
    while waiting and len(looked_at) < MOST:
        fresh = [choice for choice in dict.fromkeys(waiting) if choice not in looked_at][
            : MOST - len(looked_at)
        ]
        looked_at.update(fresh)
        seen |= {choice: found for choice in fresh if (found := estimate(choice)) is not None}
        best = spread(front_of(seen), BREADTH)
        waiting = [near for choice in best for _, near in space.one_changes(choice) if near not in looked_at]
    return seen


def front_of(found: Mapping[Choice, Estimate]) -> list[Choice]:
    """Of choices that come to the same, the first by name."""
    return undominated(sorted(found), lambda choice: of_estimate(found[choice]))


def spread(ordered: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly, with the first and the last."""
    if len(ordered) <= most or most < 2:
        return list(ordered[:most])
    last = len(ordered) - 1
    return [ordered[round(index * last / (most - 1))] for index in range(most)]
