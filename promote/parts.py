"""What a runbook works with, and the few moves that promotion, rollback and rest have in common."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from containers.runtime import RuntimeBroken
from containers.substrate import ManifestError
from evidence.canonical import canonical_json, utcnow
from evidence.ledger import write_durably
from promote.attest import AttestationRefused
from promote.bake import BakeRules
from promote.bundle import BundleRefused
from promote.edge import Edge
from promote.generations import GenerationBroken, Generations
from promote.inbox import InboxBroken, mark, reopen
from promote.journal import Journal, Overtaken, checkpoint_of
from promote.live import FenceFailed, Instances
from promote.policy import ConsentRefused
from promote.probe import ProbeFailed, probe, wait_ready
from promote.records import Live, OpenSwap, SwapRecord
from promote.settings import Disk, Hook, Timing
from promote.wire import Unreachable

T = TypeVar("T")

STEP_FAILED = (
    RuntimeBroken,
    ManifestError,
    GenerationBroken,
    BundleRefused,
    AttestationRefused,
    ConsentRefused,
    FenceFailed,
    ProbeFailed,
    InboxBroken,
    OSError,
)
"""What may go wrong in a step and means "this swap failed". Anything else is a bug and goes up."""
POLL = 0.05


class Stopping(Exception):
    """The promoter was asked to end; what is open goes on at the next start."""


@dataclass(frozen=True)
class Parts:
    """Everything a runbook touches, built once by the composition root."""

    journal: Journal
    edge: Edge
    instances: Instances
    generations: Generations
    timing: Timing
    disk: Disk
    bake: BakeRules
    hooks: tuple[Hook, ...]
    recheck: Callable[[OpenSwap], None]
    """Hashes the held bytes again and checks signatures, expiry and provenance; raises BundleRefused,
    ConsentRefused or AttestationRefused."""
    scratch: Path
    swaps: Path
    checkpoints: Path
    checkpoint_key: Ed25519PrivateKey
    stopping: Callable[[], bool]
    say: Callable[[str], None]
    """Tells people what the promoter waits for."""
    inbox: Path | None
    """The ingress's database, where turns are accepted durably."""

    def patiently(self, ask: Callable[[], T]) -> T:
        """What the edge answers, once it does: while it is away nobody is served, and no image is to blame. Raises
        Overtaken when a person asks for a rollback meanwhile, Stopping."""
        waited = False
        while True:
            try:
                answer = ask()
                if waited:
                    self.say("")
                return answer
            except Unreachable as error:
                waited = True
                self.say(f"the edge is away, so the swap waits: {error}")
            if self.stopping():
                raise Stopping
            opened = self.journal.open()
            if opened is not None and opened.rollback is not None:
                raise Overtaken(opened.rollback.reason)
            time.sleep(POLL)

    def drain(self, seconds: float) -> None:
        """Wait until nothing is in flight, or until the deadline: what is then left ends with the fence."""
        end = time.monotonic() + seconds
        while self.edge.status().inflight and time.monotonic() < end:
            time.sleep(POLL)

    def keep_images(self, opened: OpenSwap | None) -> None:
        """What runs, what a rollback would run and what is being swapped in must not be pruned away meanwhile. Asked for
        while the service is served: it takes its time."""
        lives = (self.journal.lkg(), self.journal.previous(), opened.base if opened else None)
        digests = {live.digest for live in lives if live is not None}
        self.instances.keep(frozenset(digests | ({opened.target} if opened else set())))

    def mark_inbox(self) -> int | None:
        """The first turn of the inbox that whoever was live may not have answered; None: there is no inbox."""
        return mark(self.inbox) if self.inbox is not None else None

    def reopen_inbox(self, first: int | None) -> int | None:
        """Let every turn from `first` on be answered anew; how many had been answered."""
        return reopen(self.inbox, first) if self.inbox is not None and first is not None else None

    def open_gate(self, live: Live) -> float:
        """Level-wise: point the edge at this instance and open. Milliseconds that the gate was shut."""
        target = self.instances.target(live)
        self.instances.let_edge_in(live)
        if self.edge.status().target != target:
            self.edge.point_at(target)
        return self.edge.release()

    def probe_with(self, live: Live, trusted: str) -> None:
        """Probe `live` by the canaries of an image that is already trusted."""
        manifest = self.instances.manifest(trusted)
        socket = self.instances.run_dir(live.epoch) / "agent.sock"
        try:
            probe(socket, manifest, live, self.timing, lambda: self.instances.is_running(live))
        except ProbeFailed as error:
            words = self.instances.last_words(live).strip()
            raise ProbeFailed(f"{error}{'; it said: ' + words[-400:] if words else ''}") from None

    def wait_for(self, live: Live) -> None:
        """Until a trusted image says that it is ready, by identity. No canaries: what it speaks to may be down, and
        a service that answers in part is better than none."""
        manifest = self.instances.manifest(live.digest)
        socket = self.instances.run_dir(live.epoch) / "agent.sock"
        wait_ready(socket, manifest, live, self.timing, lambda: self.instances.is_running(live))

    def finish(self, record: SwapRecord | None) -> None:
        """After the terminal transaction: the record as a file, a signed checkpoint, old generations away."""
        if record is not None:
            self.swaps.mkdir(parents=True, exist_ok=True)
            write_durably(self.swaps / f"{record.swap}.json", canonical_json(record))
        self.journal.reach("TERMINAL.record")
        self.journal.ledger.checkpoint(self.checkpoints, self.checkpoint_key)
        self.journal.reach("TERMINAL.checkpoint")
        keep = {live.generation for live in (self.journal.lkg(), self.journal.previous()) if live is not None}
        now = utcnow().timestamp()
        self.generations.collect(keep | {k.generation for k in self.journal.kept() if k.until > now})
        self.journal.reach("TERMINAL.collected")

    def catch_up_checkpoint(self) -> None:
        """At rest every row is covered: a kill between a terminal transaction and its checkpoint costs
        nothing."""
        if self.journal.ledger.head()[0] > checkpoint_of(self.checkpoints):
            self.journal.ledger.checkpoint(self.checkpoints, self.checkpoint_key)
