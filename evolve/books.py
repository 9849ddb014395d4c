"""What the stage under way spends, and how far it is, written down as it goes: about once a second, and when it ends,
however it ends. Nothing is lost with a kill but what happened since."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from evidence.canonical import utcnow
from evidence.store import Store
from evolve import runs
from evolve.budget import Budget
from trial.gateway.meter import Cost
from trial.progress import Progress

EVERY_SECONDS = 1.0


@dataclass
class Books:
    """Of one run. `spent` is what its arena's meter says; several threads may call."""

    store: Store
    budget: Budget
    spent: Callable[[], Cost]
    coder: Cost = field(default_factory=Cost)
    """What the gateway of a coder under way counts, as long as the arena's meter has not got it."""
    every: float = EVERY_SECONDS
    _stage: str = ""
    _progress: Progress | None = None
    _written: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, stage_id: str) -> None:
        """From here on what is spent is this stage's."""
        self._stage, self._progress, self._written = stage_id, None, time.monotonic()

    def show(self, progress: Progress) -> None:
        self._progress = progress
        self.look()

    def look(self) -> None:
        """Write, if that was a while ago; may be called often."""
        if time.monotonic() - self._written >= self.every:
            self._write()

    def close(self, output_blob: str | None) -> None:
        """The stage has ended: with its output, or before it had any."""
        ended = {"state": "done", "output_blob": output_blob, "finished": utcnow()} if output_blob else {}
        self._write(**ended)

    def _write(self, **values: object) -> None:
        with self._lock:
            spent = self.spent().plus(self.coder)
            self.budget.usd_micros, self.budget.tokens = spent.micro_usd, spent.tokens
            progress = self._progress.model_dump(mode="json") if self._progress else None
            runs.book(self.store, self._stage, self.budget.spent, progress=progress, **values)
            self._written = time.monotonic()
