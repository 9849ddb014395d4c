"""The watched time after a swap: is the new instance worse than the old one was, on live turns?

Two anytime-valid tests, one for failures and one for slow turns, may be looked at after every turn without
losing their error bound: each is a test martingale, a mixture of bets against "harm is at most p0" (I.
Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024,
section 4; Ville's inequality gives the bound). A bake ends well only when its time is over, enough turns
were seen, no test rejected, and the plain rate is in bounds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from promote.gate import TurnMark
from promote.records import Baseline

Word = Literal["baking", "healthy", "unhealthy"]
_BETS = (0.05, 0.1, 0.2, 0.4, 0.8)
ENOUGH_FOR_LATENCY = 20


def baseline_of(marks: Iterable[TurnMark]) -> Baseline:
    """How the outgoing instance did."""
    seen = list(marks)
    times = sorted(mark.ms for mark in seen if mark.status)
    p95 = times[math.ceil(0.95 * len(times)) - 1] if times else 0.0
    return Baseline(turns=len(seen), failures=sum(map(failed, seen)), p95_ms=p95)


def failed(mark: TurnMark) -> bool:
    """5xx, or no reply at all. A 4xx is an answer."""
    return mark.status == 0 or mark.status >= 500


class HarmTest:
    """Wealth of a mixture of bets against "at most `p0` of turns are harmed"."""

    def __init__(self, p0: float, alpha: float) -> None:
        self.p0 = p0
        self._limit = math.log(1 / alpha)
        self._logs = [0.0] * len(_BETS)

    def see(self, harmed: bool) -> None:
        for index, bet in enumerate(_BETS):
            gain = (1 - self.p0) if harmed else -self.p0
            self._logs[index] += math.log1p(bet / self.p0 * gain)

    @property
    def rejected(self) -> bool:
        top = max(self._logs)
        mixture = top + math.log(sum(math.exp(log - top) for log in self._logs) / len(self._logs))
        return mixture >= self._limit


@dataclass(frozen=True)
class BakeRules:
    """What counts as harm. `margin` and `floor` leave room for ordinary failures of a healthy service."""

    alpha: float = 0.01
    floor: float = 0.02
    margin: float = 0.03
    slow_share: float = 0.2
    slow_factor: float = 4.0
    slow_extra_ms: float = 500.0

    def failure_bound(self, base: Baseline) -> float:
        """The share of failed turns that is still no harm, given the outgoing instance's."""
        known = (base.failures + 1) / (base.turns + 2) if base.failures else 0.0
        return min(max(known, self.floor) + self.margin, 0.9)


@dataclass
class Bake:
    """One attempt's evidence. Time is the caller's, monotonic."""

    rules: BakeRules
    base: Baseline
    seconds: float
    turns_needed: int
    limit_seconds: float
    turns: int = 0
    failures: int = 0
    _failing: HarmTest = field(init=False)
    _slowing: HarmTest = field(init=False)
    _slow_ms: float = field(init=False)

    def __post_init__(self) -> None:
        self._failing = HarmTest(self.rules.failure_bound(self.base), self.rules.alpha / 2)
        self._slowing = HarmTest(self.rules.slow_share, self.rules.alpha / 2)
        known = self.base.turns >= ENOUGH_FOR_LATENCY
        limit = max(self.base.p95_ms * self.rules.slow_factor, self.base.p95_ms + self.rules.slow_extra_ms)
        self._slow_ms = limit if known else math.inf

    def see(self, marks: Iterable[TurnMark]) -> None:
        for mark in marks:
            self.turns += 1
            self.failures += failed(mark)
            self._failing.see(failed(mark))
            self._slowing.see(mark.ms > self._slow_ms)

    def judge(self, elapsed: float) -> tuple[Word, str]:
        """A word and its reason."""
        counted = f"{self.failures} of {self.turns} turns failed"
        if self._failing.rejected:
            return "unhealthy", f"{counted}, the outgoing instance: {self.base.failures} of {self.base.turns}"
        if self._slowing.rejected:
            return "unhealthy", f"turns take more than {self._slow_ms:.0f} ms too often"
        if elapsed >= self.seconds and self.turns >= self.turns_needed:
            if self.failures > self._failing.p0 * self.turns:
                return "unhealthy", f"{counted}, more than {self._failing.p0:.0%}"
            return "healthy", f"{counted} in {elapsed:.1f} s"
        if elapsed >= self.limit_seconds:
            return "unhealthy", f"only {self.turns} of {self.turns_needed} turns came: health was not shown"
        return "baking", counted
