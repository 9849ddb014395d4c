"""Single edits in the order in which they are worth a run."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.localise import Scores, statement_scores
from evolve.mend.operators import edits_of

FLOOR = 0.01
"""Score of statements that nothing points at: tried last."""
PATIENCE = 12
"""After so many edits of one statement the next one counts half: no statement starves the others."""
HANG_FACTOR, MAX_HANGS = 0.7, 6


@dataclass(frozen=True, order=True)
class Candidate:
    """An edit with its weight; sorts by weight, then by the edit itself."""

    order: float
    key: tuple[object, ...]
    edit: Edit

    @property
    def weight(self) -> float:
        return -self.order


def ranked(index: Index, scores: Scores, hung: Counter[tuple[str, int]]) -> Iterator[Candidate]:
    """All single edits, best first. A statement's edits are made only when its turn comes near.

    `hung` counts, while the search goes on, the edits at a line that ran into the time limit: each makes the
    line's other edits wait, for a run that hangs costs as much as several that do not.
    """
    waiting = statement_scores(index, scores)
    waiting.reverse()
    heap: list[tuple[float, tuple[object, ...], int, Edit]] = []
    delayed: dict[Edit, int] = {}
    while waiting or heap:
        while waiting and (not heap or -heap[0][0] < max(waiting[-1][0], FLOOR)):
            score, path, _, position = waiting.pop()
            module = index.modules[path]
            for rank, edit in enumerate(edits_of(module, module.statements[position], index)):
                weight = max(score, FLOOR) * edit.prior / (1 + rank / PATIENCE)
                heapq.heappush(heap, (-weight, edit.key(), rank, edit))
        if heap:
            order, key, rank, edit = heapq.heappop(heap)
            hangs = min(hung[edit.file, edit.line], MAX_HANGS)
            if hangs > delayed.get(edit, 0):
                order *= HANG_FACTOR ** (hangs - delayed.get(edit, 0))
                delayed[edit] = hangs
                heapq.heappush(heap, (order, key, rank, edit))
            else:
                yield Candidate(order, key, edit)
