"""Which case is replayed against which image, in which order. Seeded: the same inputs give the same plan.

One case is one pair: each arm replays it once. Repeats exist only to estimate how flaky the baseline is;
they are not evidence and are never part of a comparison's plan.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evidence.cases import HeldOutCase, RegressionCase, SealedBatch, VisibleCase
from trial.gateway.right_answer import RightAnswer
from trial.honeypot import HoneypotCase
from trial.report import Arm, Split

TrialCase = VisibleCase | HeldOutCase | RegressionCase | HoneypotCase


@dataclass(frozen=True)
class Inherited:
    """State that another process left, for a replay to begin with."""

    files: Path
    migrates: bool
    """As in a swap; a rollback goes back without."""


@dataclass(frozen=True)
class Job:
    """One replay of one case against one image."""

    case: TrialCase
    arm: Arm
    digest: str
    """The image's digest."""
    seed: int
    """What a replay may draw from; the same for both arms of a pair."""
    at_once: int = 1
    """Sessions that are replayed side by side."""
    right: RightAnswer | None = None
    """Said in the model's place in the case's own turn."""
    inherits: Inherited | None = None
    """None: the replay begins with fresh state."""
    hands_on: bool = False
    """The service is asked to end by itself, as before a swap: somebody else begins with what it leaves."""

    @property
    def split(self) -> Split:
        return self.case.split

    @property
    def shard(self) -> tuple[Arm, Split]:
        """Replays share a sandbox only within one arm and one split; a honeypot lives with its model."""
        case = self.case
        return self.arm, case.rides_with if isinstance(case, HoneypotCase) else case.split


@dataclass(frozen=True)
class Pair:
    """One case against both arms; `first` says which of them starts."""

    case: TrialCase
    seed: int
    first: Arm

    def jobs(self, baseline: str, candidate: str) -> tuple[Job, Job]:
        images: dict[Arm, str] = {"baseline": baseline, "candidate": candidate}
        second: Arm = "candidate" if self.first == "baseline" else "baseline"
        return (
            Job(self.case, self.first, images[self.first], self.seed),
            Job(self.case, second, images[second], self.seed),
        )


@dataclass(frozen=True)
class Plan:
    """All pairs of a comparison, in the order in which they are replayed."""

    seed: int
    visible: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    regression: tuple[Pair, ...]

    @property
    def phases(self) -> tuple[tuple[Split, tuple[Pair, ...]], ...]:
        """Visible first: a candidate that leaves them unfixed needs no look at held-out cases, which wear
        out. Then held-out, which decide soonest; regression cases cost most and come last."""
        return ("visible", self.visible), ("held_out", self.held_out), ("regression", self.regression)

    @property
    def trials(self) -> int:
        return 2 * sum(len(pairs) for _, pairs in self.phases)


def make_plan(batch: SealedBatch, honeypots: Sequence[HoneypotCase], *, seed: int) -> Plan:
    """Every case once, in an order drawn from the seed. Honeypots stand among the cases that they copy, and
    nothing that reaches the candidate tells them apart."""
    rng = random.Random(f"plan:{seed}:{batch.id}")

    def phase(cases: Sequence[TrialCase], split: Split) -> tuple[Pair, ...]:
        order = [*cases, *(pot for pot in honeypots if pot.rides_with == split)]
        rng.shuffle(order)
        return tuple(_pair(case, rng) for case in order)

    return Plan(
        seed=seed,
        visible=phase(batch.visible, "visible"),
        held_out=phase(batch.held_out, "held_out"),
        regression=phase(batch.regression, "regression"),
    )


def repeats(cases: Sequence[TrialCase], image: str, *, times: int, seed: int) -> tuple[Job, ...]:
    """Each case `times` times against the baseline, interleaved: for flakiness, never for a verdict."""
    rng = random.Random(f"repeats:{seed}")
    jobs = [Job(case, "baseline", image, rng.getrandbits(32)) for _ in range(times) for case in cases]
    rng.shuffle(jobs)
    return tuple(jobs)


def _pair(case: TrialCase, rng: random.Random) -> Pair:
    first: Arm = "baseline" if rng.random() < 0.5 else "candidate"
    return Pair(case, rng.getrandbits(32), first)
