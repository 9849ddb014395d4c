"""Who leads: non-dominated sorting over lead, losses, size of the change and cost, by DEAP. The lead is how much more an
entry mends than the others, each compared on what was scored for both.

K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002). Within a front the larger lead goes
first: a smaller change that mends less is worth keeping as a parent, not trying first. Of those that mend and lose equally
much, and of which none is both smaller and cheaper, the one that a calibrated judge prefers goes first.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from deap import base, tools

from evolve.archive.entry import Entry, lead


class _Merit(base.Fitness):  # type: ignore[misc]
    weights = (1.0, -1.0, -1.0, -1.0)


class _Individual:
    """What DEAP sorts: anything with a `fitness`."""

    def __init__(self, entry: Entry, others: Sequence[Entry]) -> None:
        self.entry = entry
        leads = [one for other in others if (one := lead(entry.scores, other.scores)) is not None]
        self.lead = sum(leads, Fraction()) / max(1, len(leads))
        self.fitness: Any = _Merit((self.lead, len(entry.lost), entry.lines, entry.micro_usd))

    @property
    def order(self) -> tuple[Fraction, int, int, int, int, str]:
        entry = self.entry
        return -self.lead, len(entry.lost), -entry.judged, entry.lines, entry.micro_usd, entry.id


def rank(entries: Iterable[Entry]) -> Sequence[Entry]:
    """Best first; the same entries in any order give the same ranking."""
    every = list(entries)
    if not every:
        return []
    individuals = [_Individual(entry, every) for entry in every]
    fronts = tools.sortNondominated(individuals, len(individuals))
    return [one.entry for front in fronts for one in sorted(front, key=lambda one: one.order)]
