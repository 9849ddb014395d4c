"""What a run may spend, and what it has spent. Money and tokens are capped where the key is held, by the gateway;
this counts replays and wall time, and says when any of the four is used up."""

import time
from dataclasses import dataclass, field

from evolve.settings import RunSection


@dataclass(frozen=True)
class Spent:
    """Over all attempts of a run."""

    usd_micros: int
    tokens: int
    trials: int
    seconds: float


class OutOfBudget(Exception):
    """A hard limit is reached; the message names it."""


@dataclass
class Budget:
    """Counts for one run. `seconds_before` is what earlier attempts of the same run used."""

    limits: RunSection
    seconds_before: float = 0.0
    trials: int = 0
    usd_micros: int = 0
    tokens: int = 0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self._started

    @property
    def spent(self) -> Spent:
        return Spent(self.usd_micros, self.tokens, self.trials, self.seconds)

    @property
    def seconds_left(self) -> float:
        return self.limits.max_minutes * 60 - self.seconds

    def spend_trials(self, count: int) -> None:
        """Book replays. Raises OutOfBudget as soon as any limit is passed."""
        self.trials += count
        self.check()

    def check(self) -> None:
        """Raises OutOfBudget when a limit is reached."""
        used = (
            ("max_minutes", self.seconds / 60, self.limits.max_minutes),
            ("max_trials", self.trials, self.limits.max_trials),
            ("max_usd", self.usd_micros / 1e6, self.limits.max_usd),
            ("max_tokens", self.tokens, self.limits.max_tokens),
        )
        for name, spent, limit in used:
            if spent > limit:
                raise OutOfBudget(f"{name}: {spent:.6g} of {limit:.6g} used")
