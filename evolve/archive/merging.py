"""Which candidates could do together what neither does alone."""

from collections.abc import Sequence
from itertools import combinations

from evolve.archive.entry import Entry


def worth_merging(entries: Sequence[Entry], most: int = 2) -> list[tuple[Entry, Entry]]:
    """Pairs of which each mends a case that the other was seen not to, the most cases together first.

    Whether their changes fit into one tree is for git to say. Who loses a case or was caught cheating is not
    merged, and no pair twice.
    """
    able = sorted((e for e in entries if e.is_sound and e.mended), key=lambda e: e.id)
    known = {frozenset(entry.parents) for entry in entries if len(entry.parents) == 2}
    pairs = [
        (one, other)
        for one, other in combinations(able, 2)
        if _adds(one, other) and _adds(other, one) and frozenset((one.id, other.id)) not in known
    ]
    pairs.sort(
        key=lambda pair: (
            -len(pair[0].mended | pair[1].mended),
            pair[0].lines + pair[1].lines,
            pair[0].id,
            pair[1].id,
        )
    )
    return pairs[:most]


def _adds(one: Entry, other: Entry) -> bool:
    return any(other.scores.get(case, 1.0) < 1.0 for case in one.mended)
