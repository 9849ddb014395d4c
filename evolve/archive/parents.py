"""From which candidate the next proposal starts."""

import random
from collections.abc import Sequence

from evolve.archive.entry import Entry

NEIGHBOURS = 3


def choose_parent(entries: Sequence[Entry], iteration: int, rng: random.Random) -> Entry | None:
    """Drawn among those of earlier passes by score, novelty and age; None is the baseline, which always stays in the
    draw, and is all that the first pass has.

    Who mends nothing, loses a case or was caught cheating has no children. The weight is the share of failing cases that an
    entry mends, times how unlike the others it behaves, halved with every pass since it was made: so an old leader does
    not father everything.
    """
    able = [e for e in entries if e.iteration < iteration and e.is_sound and e.gain > 0]
    if not able:
        return None
    weights = [
        _share(entry) * (0.5 + novelty(entry, entries)) * 0.5 ** (iteration - 1 - entry.iteration)
        for entry in able
    ]
    drawn: Entry | None = rng.choices([*able, None], [*weights, min(weights)])[0]
    return drawn


def novelty(entry: Entry, others: Sequence[Entry]) -> float:
    """Mean distance to the nearest others in what they mend and touch, in [0, 1]; 1.0 for one that stands alone.

    J. Lehman and K. Stanley, "Abandoning objectives: evolution through the search for novelty alone" (2011).
    """
    distances = sorted(_distance(entry, other) for other in others if other.id != entry.id)[:NEIGHBOURS]
    return sum(distances) / len(distances) if distances else 1.0


def _share(entry: Entry) -> float:
    return entry.gain / len(entry.scores)


def _distance(one: Entry, other: Entry) -> float:
    """Half by the cases that they mend, half by the files that they touch (Jaccard)."""
    return (_jaccard(one.mended, other.mended) + _jaccard(frozenset(one.files), frozenset(other.files))) / 2


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    union = one | other
    return 1 - len(one & other) / len(union) if union else 0.0
