"""One candidate as the population sees it: by what it was measured to do. What a judge says of it orders equals alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Entry:
    """`scores`: visible case that failed on the baseline -> share of this candidate's valid replays that passed, in
    [0, 1]. A case that the arena broke is not in it."""

    id: str
    iteration: int
    coder: str
    commit: str
    parents: tuple[str, ...]
    scores: Mapping[str, float]
    lost: tuple[str, ...]
    """Visible cases that pass on the baseline and fail here."""
    lines: int
    """Added and removed together."""
    micro_usd: int
    """What the coder's edit cost."""
    files: tuple[str, ...]
    word: str = ""
    """The verdict on it; empty until it was tried on held-out cases."""
    judged: int = 0
    """Cases that a calibrated judge finds better less those that it finds worse; 0 where no judge counts."""

    @property
    def is_sound(self) -> bool:
        """It breaks nothing and was not caught cheating: others may be made from it."""
        return not self.lost and self.word != "cheated"

    @property
    def gain(self) -> float:
        """Failing cases that it mends, each by its share."""
        return sum(self.scores.values())

    @property
    def mended(self) -> frozenset[str]:
        """Cases that passed in every replay."""
        return frozenset(case for case, share in self.scores.items() if share == 1.0)


def lead(one: Mapping[str, float], other: Mapping[str, float]) -> Fraction | None:
    """How much more of a case `one` passes than `other`, in the mean over what was scored on both sides; None where
    nothing was, which makes neither of them better."""
    both = one.keys() & other.keys()
    if not both:
        return None
    return sum((Fraction(one[case]) - Fraction(other[case]) for case in both), Fraction()) / len(both)
