"""The peer: every proposal is replayed on every case, and one exact test of the whole sample decides.

McNemar's test on the held-out pairs that differ, which is the sign test of `trial.statistics`, at `alpha` over all the
proposals that the run may make (Bonferroni). Every other gate is the product's: visible cases mended, no harm within the
margin, not fitted to what was seen. It gets what can be given to it: the baseline is replayed once for all proposals, there
are no honeypots and long lives, and the run ends with the first pass that holds an acceptable one; of several the
smallest p-value is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.time_to_verdict.scenarios import POLICY, Decision, Scenario
from trial import statistics as stats
from trial.checks import OVERFIT_SHARE

Ints = NDArray[np.int16]


@dataclass(frozen=True)
class Counted:
    """What exhaustive replay shows of a run's proposals; a row for each. Columns: after so many held-out cases, from 1."""

    won: Ints
    lost: Ints
    passed: Ints
    """Held-out cases that the proposal passes."""
    visible_share: NDArray[np.float64]
    sound: NDArray[np.bool_]
    """Every gate but gain and fit is open."""


def count(first: NDArray[np.bool_], cases: tuple[int, int, int]) -> Counted:
    """`first`: does an image pass a case? Row 0 is the baseline, the others the proposals; columns are visible, held-out and
    regression cases."""
    visible, held_out, _ = cases
    failing = visible + held_out
    baseline, rest = first[0], first[1:]
    before, now = baseline[visible:failing], rest[:, visible:failing]
    worked = baseline[failing:]
    losses = (worked & ~rest[:, failing:]).sum(axis=1)
    share = rest[:, :visible].mean(axis=1)
    harmless = [_harmless(int(lost), int(worked.sum())) for lost in losses]
    return Counted(
        won=np.cumsum(now & ~before, axis=1, dtype=np.int16),
        lost=np.cumsum(before & ~now, axis=1, dtype=np.int16),
        passed=np.cumsum(now, axis=1, dtype=np.int16),
        visible_share=share,
        sound=np.array(harmless) & (share >= POLICY.visible_fixed),
    )


@cache
def _harmless(losses: int, worked: int) -> bool:
    margin = stats.margin_for(worked, POLICY.margin, POLICY.confidence)
    return stats.loss_upper_bound(losses, worked, POLICY.confidence) <= margin <= POLICY.widest_margin


@cache
def _p_values(pairs: int) -> NDArray[np.float64]:
    """By won and lost pairs."""
    table = [[stats.sign_test(won, lost) for lost in range(pairs + 1)] for won in range(pairs + 1)]
    return np.array(table)


def p_values(counted: Counted, held_out: int) -> NDArray[np.float64]:
    """Of each proposal's gain, after so many held-out cases."""
    won, lost = counted.won[:, held_out - 1], counted.lost[:, held_out - 1]
    return _p_values(counted.won.shape[1])[won, lost]


def let_through(counted: Counted, held_out: int) -> NDArray[np.bool_]:
    """By every gate but the gain's."""
    fits = counted.passed[:, held_out - 1] / held_out >= OVERFIT_SHARE * counted.visible_share
    return counted.sound & fits


@dataclass(frozen=True)
class Level:
    """How the peer tests: at `factor` times alpha over the number of proposals, on so many held-out cases."""

    factor: float
    held_out: int

    def alpha(self, scenario: Scenario) -> float:
        return self.factor * POLICY.alpha / scenario.proposals


def decide(counted: Counted, scenario: Scenario, level: Level) -> Decision:
    shown = p_values(counted, level.held_out)
    found, alpha = np.where(let_through(counted, level.held_out), shown, 1.0), level.alpha(scenario)
    visible, _, regression = scenario.cases
    begin, accepted = 0, None
    for kinds in scenario.passes:
        end = begin + len(kinds)
        best = begin + int(np.argmin(found[begin:end]))
        begin = end
        if found[best] <= alpha:
            accepted = best + 1
            break
    replays = (1 + begin) * (visible + level.held_out + regression)
    return Decision(accepted, begin, replays, gain_shown=bool((shown[:begin] <= alpha).any()))


def showing_factor(counted: Counted, scenario: Scenario) -> float:
    """The smallest factor at which the test shows a gain of any proposal of this run."""
    smallest = p_values(counted, scenario.cases[1]).min()
    return float(smallest * scenario.proposals / POLICY.alpha)


def equal_factor(factors: Sequence[float], wanted: int) -> float:
    """The factor at which as many of these runs show a gain as are wanted: the nearest that the steps of an exact test
    allow, and of two as near the larger."""
    steps = sorted({0.0, *factors})
    return min(reversed(steps), key=lambda step: abs(sum(f <= step for f in factors) - wanted))
