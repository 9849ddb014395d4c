"""Money, tokens and calls: reserved at the worst case before anything is forwarded, settled by what was
reported.

So the caps hold even when every outstanding call turns out as dear as it can. A reservation that is never
settled (the gateway was killed in between) stays spent.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trial.gateway.config import Caps, Price


class OverBudget(Exception):
    """A cap would be passed; the message says which."""


@dataclass(frozen=True)
class Cost:
    micro_usd: int = 0
    tokens: int = 0
    calls: int = 0

    def plus(self, other: "Cost", sign: int = 1) -> "Cost":
        return Cost(
            self.micro_usd + sign * other.micro_usd,
            self.tokens + sign * other.tokens,
            self.calls + sign * other.calls,
        )


def price_of(price: Price | None, tokens_in: int, tokens_out: int) -> int:
    """Micro-USD, rounded up; nothing without a price."""
    if price is None:
        return 0
    return -(-(tokens_in * price.input + tokens_out * price.output) // 1_000_000)


def read_meter(path: Path) -> tuple[Cost, str]:
    """What the file says was spent, and which cap the last refused call would have passed; nothing when there is none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Cost(), ""
    refused = str(told.pop("refused", ""))
    return Cost(**told), refused


class Meter:
    """Thread-safe. With a `path`, what is spent or reserved is written down before a reservation is
    granted."""

    def __init__(self, caps: Caps | None = None, path: Path | None = None) -> None:
        self.caps = caps or Caps()
        self._path = path
        self._lock = threading.Lock()
        self._lent = Cost()
        self._spent, self._refused = read_meter(path) if path is not None else (Cost(), "")

    @property
    def spent(self) -> Cost:
        """Settled and reserved together."""
        with self._lock:
            return self._spent

    def reserve(self, worst: Cost) -> Cost:
        """Take `worst` out of the budget or raise OverBudget; nothing changes then."""
        with self._lock:
            after = self._spent.plus(worst)
            taken = after.plus(self._lent)
            for name in ("micro_usd", "tokens", "calls"):
                cap = getattr(self.caps, name)
                if cap is not None and (would := getattr(taken, name)) > cap:
                    self._refused = f"budget: {name} would reach {would}, the cap is {cap}; raise caps.{name}"
                    self._store(self._spent)
                    raise OverBudget(self._refused)
            self._store(after)
        return worst

    @contextmanager
    def lending(self, cost: Cost) -> Iterator[None]:
        """While the block runs, this much of the caps is left to another meter."""
        with self._lock:
            self._lent = self._lent.plus(cost)
        try:
            yield
        finally:
            with self._lock:
                self._lent = self._lent.plus(cost, -1)

    def settle(self, reserved: Cost, actual: Cost) -> None:
        """Replace a reservation by what it really cost."""
        with self._lock:
            self._store(self._spent.plus(reserved, -1).plus(actual))

    def _store(self, value: Cost) -> None:
        if self._path is not None:
            draft = self._path.with_suffix(".tmp")
            told = {**value.__dict__, "refused": self._refused}
            draft.write_text(json.dumps(told), encoding="utf-8")
            os.replace(draft, self._path)
        self._spent = value
