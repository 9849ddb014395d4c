"""Spectrum-based fault localisation: lines that failing replays execute and passing ones do not.

Ochiai's coefficient, the best of those compared by Abreu, Zoeteweij and van Gemund, "On the accuracy of
spectrum-based fault localization" (TAICPART-MUTATION 2007): failed(s) / sqrt(all failed * (failed(s) +
passed(s))).
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

Coverage = Mapping[str, Collection[int]]
"""File, relative to the tree -> the lines that one replay executed."""


@dataclass(frozen=True)
class Suspect:
    """One line, how suspicious it is, and how many failing and passing replays executed it."""

    file: str
    line: int
    score: float
    failed: int
    passed: int


def rank(failing: Sequence[Coverage], passing: Sequence[Coverage]) -> list[Suspect]:
    """Every line that a failing replay executed, most suspicious first; ties in order of file and line."""
    failed, passed = _hits(failing), _hits(passing)
    suspects = [
        Suspect(file, line, _ochiai(hits, passed[file, line], len(failing)), hits, passed[file, line])
        for (file, line), hits in failed.items()
    ]
    return sorted(suspects, key=lambda one: (-one.score, one.file, one.line))


def _ochiai(failed: int, passed: int, all_failed: int) -> float:
    return failed / math.sqrt(all_failed * (failed + passed))


def _hits(replays: Sequence[Coverage]) -> Counter[tuple[str, int]]:
    """In how many replays each line ran."""
    return Counter((file, line) for one in replays for file, lines in one.items() for line in set(lines))
