"""What is simulated: evidence that passes by luck or never, and proposals of which the truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trial.measure import VerdictPolicy


@dataclass(frozen=True)
class Kind:
    """One kind of proposal."""

    name: str
    better: bool = False
    visible: float | None = None
    """Chance that it passes a visible case that failed; None: the baseline's."""
    held_out: float | None = None
    """The same of a held-out case."""
    breaks: float = 0.0
    """Share of the worked cases that it breaks."""


NO_OP = Kind("no-op")
SEEN_ONLY = Kind("fits only what it has seen", visible=1.0)
FIX = Kind("fix", better=True, visible=1.0, held_out=1.0)
UNSTEADY_FIX = Kind("unsteady fix", better=True, visible=0.95, held_out=0.95)

Pass = tuple[Kind, ...]
LEAST = (8, 12, 100)
"""Visible, held-out and regression cases with which a group seals itself."""
ROOMY = (8, 40, 100)
"""With as many held-out cases as a batch holds at most."""
POLICY = VerdictPolicy()
"""What nobody has changed."""


def breaks(share: float) -> Kind:
    return Kind(f"fix that breaks {share:.0%} of what worked", visible=1.0, held_out=1.0, breaks=share)


@dataclass(frozen=True)
class Scenario:
    name: str
    passes: tuple[Pass, ...]
    """The proposals that each pass would make, if the run comes to it."""
    cases: tuple[int, int, int] = LEAST
    flaky: float = 0.0
    """Share of the failing cases that the baseline passes by luck."""
    luck: float = 0.5
    """How often it does."""
    worked: float = 1.0
    """Chance that the baseline passes a worked case again."""

    @property
    def proposals(self) -> int:
        return sum(map(len, self.passes))


def _light(kind: Kind) -> tuple[Pass, ...]:
    """Three passes of one proposal."""
    return ((kind,),) * 3


def _standard(*kinds: Kind) -> tuple[Pass, ...]:
    """Four passes of three proposals."""
    return (kinds,) * 4


A_A = Scenario(
    "A/A on held-out cases, half pass by luck",
    _standard(SEEN_ONLY, SEEN_ONLY, SEEN_ONLY),
    ROOMY,
    flaky=1.0,
)
"""Every proposal gets as far as the held-out cases, and nothing but chance can show a gain there."""
SCENARIOS: Sequence[Scenario] = (
    Scenario("no-ops, 3 failures in 10 flaky", _standard(NO_OP, NO_OP, NO_OP), flaky=0.3),
    A_A,
    Scenario("harm far beyond the margin: 10%", _standard(breaks(0.10), breaks(0.10), breaks(0.10))),
    Scenario("harm just at the margin: 3%", _standard(breaks(0.03), breaks(0.03), breaks(0.03))),
    Scenario("one proposal a pass, a fix", _light(FIX)),
    Scenario("one fix of three a pass", _standard(FIX, NO_OP, NO_OP)),
    Scenario(
        "one fix of twelve, in the last pass", (*_standard(NO_OP, NO_OP, NO_OP)[:3], (FIX, NO_OP, NO_OP))
    ),
    Scenario("a fix and one that fits only what it has seen", _standard(FIX, SEEN_ONLY, NO_OP)),
    Scenario("a fix of what passes 30% by luck", _standard(FIX, NO_OP, NO_OP), ROOMY, flaky=1.0, luck=0.3),
    Scenario("a fix of what passes 60% by luck", _standard(FIX, NO_OP, NO_OP), ROOMY, flaky=1.0, luck=0.6),
    Scenario("a fix that works 95% of the time", _standard(UNSTEADY_FIX, NO_OP, NO_OP)),
    Scenario("a fix where 1 worked turn in 200 fails by luck", _standard(FIX, NO_OP, NO_OP), worked=0.995),
)


@dataclass(frozen=True)
class Draw:
    """One simulated run's truth. Row 0 is the baseline, row `i` the `i`-th proposal; columns are visible, held-out and
    regression cases."""

    chance: NDArray[np.float64]
    first: NDArray[np.bool_]
    """Does a case pass when it is replayed for the first time? Both ways of deciding see the same."""
    passes: tuple[Pass, ...]
    """The scenario's, in this run's order."""
    rng: np.random.Generator

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(kind for one in self.passes for kind in one)

    def again(self, row: int, column: int) -> bool:
        """Another replay of the same case."""
        return bool(self.rng.random() < self.chance[row, column])


@dataclass(frozen=True)
class Decision:
    """How a run ended, whichever way it was decided."""

    accepted: int | None
    """The proposal, from 1."""
    proposals: int
    replays: int
    gain_shown: bool
    """Some proposal passed the test of the gain, whatever the other gates said of it."""


def draw(scenario: Scenario, seed: Sequence[int]) -> Draw:
    rng = np.random.default_rng(seed)
    visible, held_out, worked = scenario.cases
    failing = visible + held_out
    passes = tuple(tuple(one[i] for i in rng.permutation(len(one))) for one in scenario.passes)
    by_luck = np.where(rng.random(failing) < scenario.flaky, scenario.luck, 0.0)
    baseline = np.concatenate([by_luck, np.full(worked, scenario.worked)])
    rows = [baseline]
    for kind in (kind for one in passes for kind in one):
        row = baseline.copy()
        if kind.visible is not None:
            row[:visible] = kind.visible
        if kind.held_out is not None:
            row[visible:failing] = kind.held_out
        row[failing:][rng.random(worked) < kind.breaks] = 0.0
        rows.append(row)
    chance = np.stack(rows)
    return Draw(chance, rng.random(chance.shape) < chance, passes, rng)
