"""The numbers behind a verdict. Pure: no IO, no clock, no randomness.

Gain is tested with a paired betting e-process. A pair is one case replayed on both arms; only discordant
pairs carry information. If the candidate is no better, a discordant pair is won with probability at most
1/2, so a gambler who stakes the share `bet` of her wealth on "won" has wealth that is a non-negative
supermartingale. By Ville's inequality (Ville 1939) it ever reaches `1/alpha` with probability at most
`alpha`, however often one looks. Mixing several bets keeps the property and needs no guess of the effect's
size (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024).

Harm is tested with an exact one-sided Clopper-Pearson bound on the share of regression cases that were lost.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

BETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PairResult = Literal["won", "lost", "tied"]


def threshold(alpha: float, candidates: int = 1) -> float:
    """What the e-value has to reach when `candidates` of one batch share the error budget `alpha`."""
    if not 0 < alpha < 1 or candidates < 1:
        raise ValueError(f"alpha must lie in (0, 1) and candidates be positive, not {alpha} and {candidates}")
    return candidates / alpha


def pair_result(baseline_passed: bool, candidate_passed: bool) -> PairResult:
    if baseline_passed == candidate_passed:
        return "tied"
    return "won" if candidate_passed else "lost"


@cache
def e_value(won: int, lost: int) -> float:
    """The mixture's wealth after so many won and lost pairs; order and ties do not matter."""
    return math.fsum((1 + bet) ** won * (1 - bet) ** lost for bet in BETS) / len(BETS)


@dataclass(frozen=True)
class EProcess:
    """Evidence so far that the candidate is better. `update` returns the next one."""

    won: int = 0
    lost: int = 0
    tied: int = 0
    path: tuple[float, ...] = ()
    """The e-value after each pair, ties included."""

    @property
    def value(self) -> float:
        return e_value(self.won, self.lost)

    @property
    def peak(self) -> float:
        """Once the threshold was reached the claim stands, so the verdict looks at the highest value."""
        return max(self.path, default=1.0)

    @property
    def pairs(self) -> int:
        return self.won + self.lost + self.tied

    def update(self, result: PairResult) -> "EProcess":
        won, lost = self.won + (result == "won"), self.lost + (result == "lost")
        return EProcess(won, lost, self.tied + (result == "tied"), (*self.path, e_value(won, lost)))

    def reached(self, needed: float) -> bool:
        return self.peak >= needed

    def futile(self, needed: float, remaining: int) -> bool:
        """Not even winning every remaining pair would reach `needed`."""
        return not self.reached(needed) and e_value(self.won + remaining, self.lost) < needed


def run_pairs(results: Iterable[PairResult]) -> EProcess:
    process = EProcess()
    for result in results:
        process = process.update(result)
    return process


def fewest_wins(needed: float) -> int:
    """The shortest run of won pairs that reaches `needed`: fewer held-out cases can't show a gain at all."""
    won = 0
    while e_value(won, 0) < needed:
        won += 1
    return won


def loss_upper_bound(losses: int, cases: int, confidence: float = 0.95) -> float:
    """Exact one-sided Clopper-Pearson upper bound on the share of cases lost; 1 when there is no case."""
    if not 0 <= losses <= cases or not 0 < confidence < 1:
        raise ValueError(f"{losses} losses of {cases} cases at {confidence}")
    if losses == cases:
        return 1.0
    if losses == 0:
        return _round_up(-math.expm1(math.log1p(-confidence) / cases))
    low, high = losses / cases, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_cdf(losses, cases, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _round_up(bound: float) -> float:
    return min(1.0, bound * (1 + 1e-12))


def _binomial_cdf(successes: int, trials: int, chance: float) -> float:
    """P(X <= successes), summed in logarithms so that thousands of trials do not underflow."""
    if chance >= 1:
        return 1.0 if successes >= trials else 0.0
    log_p, log_q = math.log(chance), math.log1p(-chance)
    total = math.lgamma(trials + 1)
    terms = (
        math.exp(total - math.lgamma(i + 1) - math.lgamma(trials - i + 1) + i * log_p + (trials - i) * log_q)
        for i in range(successes + 1)
    )
    return min(1.0, math.fsum(terms))


def margin_for(cases: int, wanted: float = 0.03, confidence: float = 0.95) -> float:
    """The non-inferiority margin that so many cases can carry: `wanted`, or what they show when none is lost.

    99 clean cases carry 3 points; 29 carry 10.
    """
    return max(wanted, loss_upper_bound(0, cases, confidence))


def cases_for_margin(margin: float, confidence: float = 0.95) -> int:
    """How many clean cases a margin needs."""
    cases = max(1, math.floor(math.log1p(-confidence) / math.log1p(-margin)))
    while loss_upper_bound(0, cases, confidence) > margin:
        cases += 1
    return cases


def losses_allowed(cases: int, margin: float, confidence: float = 0.95) -> int:
    """The most losses that keep the bound within the margin; -1 when not even a clean set does."""
    allowed = -1
    while allowed + 1 <= cases and loss_upper_bound(allowed + 1, cases, confidence) <= margin:
        allowed += 1
    return allowed


def sign_test(above: int, below: int) -> float:
    """One-sided p-value that "above" is not the rarer side; ties are left out by the caller."""
    flips = above + below
    return 1.0 if flips == 0 else 1 - _binomial_cdf(above - 1, flips, 0.5) if above else 1.0


@dataclass(frozen=True)
class LatencyRatio:
    """Paired latencies of two arms: how much slower the second is, robustly."""

    pairs: int
    median_ratio: float
    median_extra: float
    """Seconds."""
    p_value: float
    """Sign test of "a pair's ratio exceeds the factor in more than half of the pairs"."""
    factor: float
    floor: float
    ratios: tuple[float, ...] = field(default=(), repr=False)

    def slower(self, significance: float = 0.01) -> bool:
        """More than `factor` times and `floor` seconds slower in the median, and not by a few lucky pairs."""
        return (
            self.median_ratio > self.factor
            and self.median_extra > self.floor
            and self.p_value <= significance
        )


def latency_ratio(
    pairs: Sequence[tuple[float, float]], *, factor: float, floor: float = 0.0
) -> LatencyRatio | None:
    """Compare (baseline, candidate) seconds pair by pair; None when there is nothing to compare."""
    kept = [(max(base, 1e-6), max(cand, 1e-6)) for base, cand in pairs]
    if not kept:
        return None
    ratios = sorted(cand / base for base, cand in kept)
    above = sum(cand > factor * base and cand - base > floor for base, cand in kept)
    return LatencyRatio(
        pairs=len(kept),
        median_ratio=_median(ratios),
        median_extra=_median(sorted(cand - base for base, cand in kept)),
        p_value=sign_test(above, len(kept) - above),
        factor=factor,
        floor=floor,
        ratios=tuple(ratios),
    )


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
