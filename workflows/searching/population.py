"""Who lives on in a search: NSGA-II over what counts, in niches of structure and outcome, so that one kind does not fill
the place of all others.

DEAP sorts into fronts and by crowding. Its global random state and its registry of types are not used: what is drawn comes
from the generator that is handed in, out of lists sorted by digest.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from deap import base, tools

from workflows.edits import Edit
from workflows.graph import Workflow
from workflows.order import Order
from workflows.searching.fitness import Fitness

MOST = 24
MOST_ALIKE = 3
"""Of one niche."""
ROUNDS = 3
"""Contestants for a place as a parent."""


@dataclass(frozen=True)
class Tried:
    """A workflow that was evaluated, and how it came about."""

    workflow: Workflow
    digest: str
    fitness: Fitness
    origin: str
    parent: str | None = None
    """Digest."""
    edits: tuple[Edit, ...] = ()

    @property
    def order(self) -> tuple[object, ...]:
        """Least is best. Between equals the smaller, then whichever: always the same."""
        return *self.fitness.order, len(self.workflow.nodes), self.digest

    @cached_property
    def niche(self) -> str:
        failed = sorted({name for name, _ in self.fitness.failures})
        return f"{structure(self.workflow)} {self.fitness.completion:.3f} {failed}"


class _Fitness(base.Fitness):  # type: ignore[misc]
    weights = (1.0, 1.0, -1.0, -1.0)


class _Individual:
    def __init__(self, tried: Tried) -> None:
        self.tried = tried
        self.fitness: Any = _Fitness(tried.fitness.objectives)


def structure(workflow: Workflow) -> str:
    """What it is made of and how deep it is: two that differ in arguments alone are of one structure."""
    kinds = Counter(node.kind for node in workflow.nodes)
    return f"{sorted(workflow.tools)} {sorted(kinds.items())} {len(Order(workflow).layers)}"


def survivors(tried: Iterable[Tried], most: int = MOST) -> list[Tried]:
    """The best one always, then by front and crowding, of a niche only a few; what is left over fills up."""
    pool = sorted({one.digest: one for one in tried}.values(), key=lambda one: one.digest)
    ranked = [one.tried for one in tools.selNSGA2([_Individual(one) for one in pool], len(pool))]
    best = min(pool, key=lambda one: one.order, default=None)
    ranked.sort(key=lambda one: one is not best)
    seen: Counter[str] = Counter()
    kept, rest = list[Tried](), list[Tried]()
    for one in ranked:
        seen[one.niche] += 1
        (kept if seen[one.niche] <= MOST_ALIKE else rest).append(one)
    return [*kept, *rest][:most]


def front(tried: Iterable[Tried]) -> list[Tried]:
    """Those that none is better than in everything, the best first."""
    pool = [_Individual(one) for one in sorted(tried, key=lambda one: one.order)]
    [found] = tools.sortNondominated(pool, len(pool), first_front_only=True) or [[]]
    different = {one.tried.fitness.objectives: one.tried for one in reversed(found)}
    return sorted(different.values(), key=lambda one: one.order)


def parent(population: Sequence[Tried], bred: Counter[str], rng: Random) -> Tried:
    """The best of a few, or, as often, one of the niche that had the fewest offspring. `bred` counts them by niche."""
    if rng.random() < 0.5:
        return min(rng.choices(population, k=ROUNDS), key=lambda one: one.order)
    least = min(bred[one.niche] for one in population)
    return rng.choice([one for one in population if bred[one.niche] == least])
