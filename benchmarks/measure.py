"""What every benchmark needs: interleaved rounds, medians, a ratio against a named peer, and progress on stderr."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Result = dict[str, Any]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - began)


def interleaved(ways: Mapping[str, Callable[[], float]], rounds: int, what: str) -> dict[str, list[float]]:
    """Each way once a round, so that all of them see the same weather; every round begins with another one."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            figures[name].append(ways[name]())
        if (number + 1) % max(1, rounds // 5) == 0:
            say(f"{what}: round {number + 1} of {rounds}")
    return figures


def median(figures: Sequence[float], digits: int = 2) -> float:
    return round(statistics.median(figures), digits)


def ratio(ours: Sequence[float], peer: Sequence[float]) -> float:
    """The median over rounds of ours to the peer's in the same round: load that comes and goes strikes both."""
    return median([one / other for one, other in zip(ours, peer, strict=True)])
