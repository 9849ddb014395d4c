"""Who leads: non-dominated sorting over gain, losses, size of the change and cost, by DEAP.

K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002). Within a front the larger gain goes
first: a smaller change that mends less is worth keeping as a parent, not trying first.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from deap import base, tools

from evolve.archive.entry import Entry


class _Merit(base.Fitness):  # type: ignore[misc]
    weights = (1.0, -1.0, -1.0, -1.0)


class _Individual:
    """What DEAP sorts: anything with a `fitness`."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.fitness: Any = _Merit((entry.gain, len(entry.lost), entry.lines, entry.micro_usd))


def fronts(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries in fronts of which none is better in every respect than another; the best front first."""
    individuals = [_Individual(entry) for entry in entries]
    if not individuals:
        return []
    return [
        [individual.entry for individual in front]
        for front in tools.sortNondominated(individuals, len(individuals))
    ]


def rank(entries: Iterable[Entry]) -> Sequence[Entry]:
    """Best first; the same entries in any order give the same ranking."""
    return [entry for front in fronts(entries) for entry in sorted(front, key=_order)]


def _order(entry: Entry) -> tuple[float, int, int, int, str]:
    return -entry.gain, len(entry.lost), entry.lines, entry.micro_usd, entry.id
