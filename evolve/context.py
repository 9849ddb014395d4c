"""What a run works with: opened once per process from the settings, handed to every stage."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import ImageRef, Runtime
from containers.substrate import SubstrateManifest
from evidence.cases import SealedBatch
from evidence.store import Store
from evolve import runs
from evolve.books import Books
from evolve.budget import Budget
from evolve.coding.protocol import CodingCli
from evolve.settings import Settings
from trial.arena import Arena
from trial.graders import GraderSet
from trial.plan import Job
from trial.progress import Progress
from trial.report import Trial

KILL_VARIABLE = "EVOLVE_KILL_AT"


@dataclass(frozen=True)
class RunContext:
    """One run's hands: nothing in here remembers anything that the database does not."""

    settings: Settings
    store: Store
    runtime: Runtime
    arena: Arena
    graders: GraderSet
    coders: Mapping[str, CodingCli]
    manifest: SubstrateManifest
    batch: SealedBatch
    run_id: str
    seed: int
    budget: Budget
    books: Books
    listener: Callable[[str, str], None] | None = None
    """Told (stage, text) as it happens, for a foreground terminal."""

    @property
    def folder(self) -> Path:
        return self.settings.home / "runs" / self.run_id

    @property
    def baseline(self) -> ImageRef:
        return ImageRef(self.batch.baseline_digest)

    def coder(self, name: str) -> CodingCli:
        """One of those that this run may use."""
        return self.coders[name]

    def say(self, stage: str, text: str, **data: object) -> None:
        """One line of progress, stored for watchers and told to the listener."""
        runs.tell(self.store, self.run_id, stage, text, **data)
        if self.listener is not None:
            self.listener(stage, text)

    def spend_trials(self, count: int) -> None:
        """Book replays and notice a wish to stop. Raises OutOfBudget or Stopped."""
        self.budget.spend_trials(count)
        self.books.look()
        runs.raise_if_stopping(self.store, self.run_id)

    def replay(self, jobs: Sequence[Job]) -> Iterator[Trial]:
        """Replay and grade each, booked one by one. Raises OutOfBudget or Stopped."""
        for done, trial in enumerate(self.arena.run(jobs, self.graders.grade), 1):
            self.books.show(Progress(done=done, planned=len(jobs)))
            self.spend_trials(1)
            yield trial

    def kill_point(self, name: str) -> None:
        """Die here by SIGKILL when `$EVOLVE_KILL_AT` names this point: how crash recovery is tested for real."""
        if os.environ.get(KILL_VARIABLE) == name:
            os.kill(os.getpid(), signal.SIGKILL)
