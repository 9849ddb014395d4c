"""Standing checks of the gate itself: what must never be accepted, tried for real.

The baseline against itself, and an agent that does nothing, go through the whole comparison like any
candidate. `evolve doctor --deep` runs them; `benchmarks/false_accepts.py` runs them often and measures
the rate.
"""

import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import ImageRef, Runtime
from containers.substrate import SubstrateManifest
from evidence.cases import SealedBatch
from trial import nothing
from trial import statistics as stats
from trial.arena import Arena
from trial.compare import compare
from trial.graders import GraderSet
from trial.measure import VerdictPolicy
from trial.report import Check, TrialReport

_NO_CHANGE = (
    Check(name="guard.standing_check", ok=True, reason="no candidate's commit: a check of the gate"),
)


@dataclass(frozen=True)
class StandingCheck:
    """One thing that must not be accepted, and what the gate said."""

    name: str
    report: TrialReport

    @property
    def ok(self) -> bool:
        return self.report.verdict != "converged"

    @property
    def gain_shown(self) -> bool:
        """The betting test alone was fooled; the rest of the gate may still have refused."""
        return self.report.e_value >= self.report.e_threshold

    @property
    def reason(self) -> str:
        return f"{self.name}: {self.report.verdict} ({self.report.reasons[0]})"


def baseline_against_itself(
    arena: Arena, batch: SealedBatch, graders: GraderSet, *, seed: int, policy: VerdictPolicy | None = None
) -> StandingCheck:
    """The baseline in the candidate's place: nothing was fixed, so nothing may converge."""
    image = batch.baseline_digest
    return StandingCheck("baseline_against_itself", _compare(arena, batch, graders, image, seed, policy))


def do_nothing(
    runtime: Runtime,
    arena: Arena,
    batch: SealedBatch,
    graders: GraderSet,
    manifest: SubstrateManifest,
    *,
    seed: int,
    policy: VerdictPolicy | None = None,
) -> StandingCheck:
    """An agent that answers every turn empty. Raises ValueError when the substrate's command is no `python
    -m`."""
    image = build_nothing(runtime, ImageRef(batch.baseline_digest), manifest)
    return StandingCheck("do_nothing", _compare(arena, batch, graders, image.digest, seed, policy))


def build_nothing(runtime: Runtime, baseline: ImageRef, manifest: SubstrateManifest) -> ImageRef:
    """The baseline's image with the do-nothing agent in the place of its start module."""
    command = manifest.command
    if "-m" not in command[:-1]:
        raise ValueError(f"{' '.join(command)}: only a `python -m MODULE` command can be replaced")
    module = command[command.index("-m") + 1].split(".")
    with tempfile.TemporaryDirectory(prefix="nothing-") as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        runtime.export(baseline, tree)
        package = tree.joinpath(*module)
        target = package / "__main__.py" if package.is_dir() else package.with_suffix(".py")
        shutil.copyfile(nothing.__file__, target)
        return runtime.build(tree, manifest)


def _compare(
    arena: Arena, batch: SealedBatch, graders: GraderSet, image: str, seed: int, policy: VerdictPolicy | None
) -> TrialReport:
    report, _ = compare(
        arena,
        batch,
        graders,
        candidate_digest="",
        baseline_image=batch.baseline_digest,
        candidate_image=image,
        guard=_NO_CHANGE,
        seed=seed,
        policy=policy,
    )
    return report


def simulated_false_accepts(
    *, runs: int, pass_rate: float, pairs: int, alpha: float, candidates: int = 1, seed: int = 0
) -> float:
    """Share of simulated no-op batches in which any of `candidates` shows a gain: both arms pass a case by
    luck, with the same chance."""
    rng = random.Random(f"null:{seed}")
    needed = stats.threshold(alpha, candidates)

    def results() -> Iterator[stats.PairResult]:
        for _ in range(pairs):
            yield stats.pair_result(rng.random() < pass_rate, rng.random() < pass_rate)

    fooled = sum(
        any(stats.run_pairs(results()).reached(needed) for _ in range(candidates)) for _ in range(runs)
    )
    return fooled / runs
