"""Does a service say that it is at work while it is? Asked again and again while turns are replayed."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trial.turns import get_json

SECONDS = 1.0
PAUSE = 0.002
ASKED_EACH = 20
HOLD_SECONDS = 3.0


@dataclass(frozen=True)
class Told:
    """How often it was asked while a turn was under way all the time, and how often it then said so."""

    asked: int = 0
    busy: int = 0

    @property
    def share(self) -> float:
        return self.busy / self.asked if self.asked else 0.0


UNTOLD = Told()


class Watch:
    """Counts what is under way as whoever sends the turns sees it, and asks the service beside that."""

    def __init__(self, agent: Path, path: str) -> None:
        self._agent, self._path = agent, path
        self._lock = threading.Lock()
        self._begun, self._running = 0, set[int]()
        self._ended = threading.Event()
        self._asked: Counter[bool] = Counter()
        self._thread = threading.Thread(target=self._ask, name="inflight")

    @property
    def told(self) -> Told:
        return Told(self._asked.total(), self._asked[True])

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While the block runs one turn more is under way."""
        with self._lock:
            self._begun += 1
            number = self._begun
            self._running.add(number)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(number)

    def hold(self) -> None:
        """Returns when the service was asked some times more, or takes too long for that: meanwhile a turn is under way,
        however fast the service is."""
        wanted = self._asked.total() + ASKED_EACH
        end = time.monotonic() + HOLD_SECONDS
        while self._asked.total() < wanted and time.monotonic() < end and not self._ended.wait(PAUSE):
            pass

    def _now(self) -> frozenset[int]:
        with self._lock:
            return frozenset(self._running)

    def _ask(self) -> None:
        while not self._ended.wait(PAUSE):
            before = self._now()
            if not before:
                continue
            said = get_json(self._agent, self._path, SECONDS)
            if before & self._now():
                self._asked[_says_busy(said)] += 1

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _says_busy(said: object) -> bool:
    count = said.get("inflight") if isinstance(said, dict) else None
    return isinstance(count, int | float) and count >= 1
