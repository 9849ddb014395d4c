"""One candidate as the population sees it: by what it was measured to do, never by what was said of it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """`scores`: visible case that failed on the baseline -> share of this candidate's replays that passed, in [0, 1]."""

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
