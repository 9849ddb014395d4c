"""Combinations of edits, evolved: fitness is (share of failing tests that pass, −number of edits).

DEAP keeps the population; every choice is made by our own seeded generator over sorted data, so that a seed
means one search. Its global random state and its type registry are not used.
"""

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deap import base, tools

from evolve.mend.candidates import Candidate
from evolve.mend.edit import Overlap, merged_spans
from evolve.mend.evaluate import Edits, Evaluator

if TYPE_CHECKING:
    from evolve.mend.search import Config

POPULATION = 24
BARREN = 12
"""Generations without a new individual after which the search ends."""


class _Fitness(base.Fitness):  # type: ignore[misc]
    weights = (1.0, -0.01)


class _Individual:
    """A set of edits, in order of their keys."""

    def __init__(self, edits: Edits) -> None:
        self.edits = edits
        self.fitness: Any = _Fitness()


def combinations(
    evaluator: Evaluator, promising: Sequence[tuple[float, Edits]], top: Sequence[Candidate], config: "Config"
) -> list[tuple[float, Edits]]:
    """(weight, edits) of combinations that pass; stops at the first generation that holds one."""
    rng = random.Random(config.seed)
    helpful = [edits for _, edits in sorted(promising, key=lambda p: (-p[0], _key(p[1])))]
    pool = [*helpful, *((c.edit,) for c in top)]
    population: list[_Individual] = []
    for gain, edits in sorted(promising, key=lambda p: (-p[0], _key(p[1])))[:POPULATION]:
        individual = _Individual(edits)
        individual.fitness.values = (gain, len(edits))
        population.append(individual)
    queue = _pairs(helpful, pool, config.max_edits)
    barren = 0
    while evaluator.left() > 0 and barren < BARREN:
        batch = [edits for _, edits in zip(range(POPULATION), queue, strict=False)]
        while len(batch) < POPULATION and pool:
            batch.append(_offspring(population, pool, rng, config.max_edits))
        fresh: list[_Individual] = []
        for edits, outcome in evaluator.stream(_disjoint(batch)):
            individual = _Individual(edits)
            gain = evaluator.gain(outcome)
            individual.fitness.values = (gain, len(edits))
            fresh.append(individual)
            if outcome.passed:
                return [(1.0 / len(edits), edits)]
        barren = 0 if fresh else barren + 1
        population = tools.selNSGA2([*population, *fresh], min(POPULATION, len(population) + len(fresh)))
        config.progress(f"{evaluator.tried} tried, combinations of up to {config.max_edits} edits")
    return []


def _key(edits: Edits) -> list[tuple[object, ...]]:
    return [e.key() for e in edits]


def _joined(*sets: Edits) -> Edits:
    return tuple(sorted({e for s in sets for e in s}, key=lambda e: e.key()))


def _pairs(helpful: Sequence[Edits], pool: Sequence[Edits], most: int) -> Iterator[Edits]:
    """Helpful ones with each other, then with the most suspicious of all."""
    for reach, other in enumerate(pool):
        for one in helpful[: min(reach, 12)]:
            pair = _joined(one, other)
            if 1 < len(pair) <= most:
                yield pair


def _offspring(
    population: Sequence[_Individual], pool: Sequence[Edits], rng: random.Random, most: int
) -> Edits:
    """Two parents' edits mixed, or one edit more, fewer or exchanged."""
    if not population:
        return _joined(*(pool[_skewed(rng, len(pool))] for _ in range(rng.randint(2, max(2, most)))))
    one = population[_skewed(rng, len(population))].edits
    if rng.random() < 0.4:
        both = _joined(one, population[rng.randrange(len(population))].edits)
        return _joined(tuple(rng.sample(both, min(len(both), rng.randint(2, max(2, most))))))
    kept = list(one)
    if len(kept) > 1 and (len(kept) >= most or rng.random() < 0.3):
        kept.pop(rng.randrange(len(kept)))
    return _joined(tuple(kept), pool[_skewed(rng, len(pool))])


def _skewed(rng: random.Random, size: int) -> int:
    """A position, the front more often."""
    return min(int(size * rng.random() ** 2), size - 1)


def _disjoint(batch: Sequence[Edits]) -> Iterator[Edits]:
    for edits in batch:
        try:
            for name in {e.file for e in edits}:
                merged_spans(e for e in edits if e.file == name)
        except Overlap:
            continue
        yield edits
