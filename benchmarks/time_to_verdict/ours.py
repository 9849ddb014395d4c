"""The product's way to a verdict, with replays that are drawn instead of made.

Its stages, population, comparison and verdict decide; nothing of them is written anew. What asks git, a coder or the
database is left out, and so is the merging of two halves.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from benchmarks.time_to_verdict.scenarios import POLICY, Decision, Draw, Scenario
from containers.shard import UNKNOWN
from evidence.cases import HeldOutCase, RecordedTurn, RegressionCase, SealedBatch, VisibleCase
from evolve.candidate import Candidate
from evolve.population import Population
from evolve.stage import Place
from evolve.stages import baseline, controls, screen, select
from evolve.stages.models import Built, Evaluated
from trial.arena import Played
from trial.compare import compare
from trial.graders import GraderSet
from trial.long_life import Lived
from trial.observation import Observation
from trial.plan import Job
from trial.report import Check, Trial, TrialReport

SECONDS = 0.01
BASELINE = "0"
"""An image is named by its row of the draw."""
GUARD = (Check(name="guard.editable_only", ok=True, reason=""),)


class HashedOnce(SealedBatch):
    """Every report names its batch by its hash, and hashing one takes longer than to decide about it."""

    @cached_property
    def digest(self) -> str:
        return super().digest


def sealed(scenario: Scenario, graders: GraderSet) -> SealedBatch:
    """Cases are named by their column of the draw, and so are their turns."""

    def fields(column: int) -> dict[str, object]:
        name = str(column)
        turn = RecordedTurn(request_id=name, session=name, path="/", body={"ask": column})
        draft = VisibleCase(id=name, evidence_id="e", fingerprint="f", turn=turn)
        return {**draft.model_dump(exclude={"split"}), "graders": graders.refs_for(draft)}

    visible, held_out, regression = scenario.cases
    failing, all_of_them = visible + held_out, visible + held_out + regression
    return HashedOnce(
        id="bench",
        fingerprint="f",
        title=scenario.name,
        substrate="simulated",
        baseline_digest=BASELINE,
        baseline_commit="c",
        graders_digest=graders.digest,
        sealed_at="",
        sealed_by="benchmark",
        visible=tuple(VisibleCase.model_validate(fields(n)) for n in range(visible)),
        held_out=tuple(HeldOutCase.model_validate(fields(n)) for n in range(visible, failing)),
        regression=tuple(RegressionCase.model_validate(fields(n)) for n in range(failing, all_of_them)),
    )


def candidates(scenario: Scenario) -> list[Built]:
    """All alike but for their names, so that only replays tell them apart."""
    return [
        Built(
            candidate=Candidate(
                id=f"candidate-{row:03}",
                run_id="run",
                batch_digest="",
                base_commit="c",
                base_image=BASELINE,
                commit=str(row),
                image=str(row),
                diff_sha256=str(row),
                files=("service.py",),
                lines_added=1,
                lines_removed=1,
                coder="simulated",
                seed=row,
            )
        )
        for row in range(1, scenario.proposals + 1)
    ]


@dataclass
class DrawnArena:
    """In the place of `trial.arena.Arena`: hands out what would have been made of each replay."""

    draw: Draw
    replays: int = 0
    _times: Counter[tuple[int, int]] = field(default_factory=Counter)

    def redact(self, text: str) -> str:
        return text

    def run(self, jobs: Sequence[Job]) -> Iterator[Trial]:
        for job in jobs:
            self.replays += 1
            yield self._trial(job)

    def play(self, jobs: Sequence[Job], use: object) -> Iterator[Played[object]]:
        for job in jobs:
            self.replays += 1
            own = job.split == "honeypot" or job.case.id == job.case.turn.request_id
            yield Played(job, self._observed(self._trial(job)) if own else self._lived(job))

    def _passes(self, image: str, request_id: str) -> bool:
        place = int(image), int(request_id)
        self._times[place] += 1
        if self._times[place] == 1:
            return bool(self.draw.first[place])
        return self.draw.again(*place)

    def _trial(self, job: Job) -> Trial:
        passed = job.split != "honeypot" and self._passes(job.digest, job.case.id)
        return Trial(
            case_id=job.case.id,
            split=job.split,
            arm=job.arm,
            digest=job.digest,
            outcome="pass" if passed else "fail",
            latency=SECONDS,
            seed=job.seed,
        )

    def _observed(self, trial: Trial) -> tuple[Trial, Observation]:
        """Nothing that a check could accuse: outcomes alone decide."""
        seen = Observation(
            case_id=trial.case_id,
            split=trial.split,
            arm=trial.arm,
            outcome=trial.outcome,
            answered=True,
            latency=SECONDS,
            own_seconds=SECONDS,
            hooks=frozenset(),
            hooks_before=frozenset(),
            kinds=frozenset(),
            reached=frozenset(),
            denied=False,
            ready=SECONDS,
            shape=frozenset(),
            words={},
            calls=0,
            answered_calls={},
            asked=frozenset(),
            models=frozenset(),
            asked_bytes=0,
            for_client=frozenset(),
            offered=frozenset(),
            charged=0,
            spent=0,
            size=0,
        )
        return trial, seen

    def _lived(self, job: Job) -> Lived | dict[str, int]:
        sent = Counter(turn.request_id for turn in (*job.case.prelude, job.case.turn))
        # What is sent twice at once is not judged.
        turns = [name for name, times in sent.items() if times == 1 or job.at_once == 1]
        if not job.case.turn.request_id.isdigit():
            return dict.fromkeys(turns, 400)  # odd requests
        passed = {name: self._passes(job.digest, name) for name in sorted(turns, key=int)}
        return Lived(
            passed, dict.fromkeys(passed, SECONDS), again={}, state_bytes=0, state_files=0, used=UNKNOWN
        )


@dataclass(frozen=True)
class DrawnContext:
    """What stages that only replay ask of a `RunContext`."""

    batch: SealedBatch
    arena: DrawnArena
    seed: int

    def replay(self, jobs: Sequence[Job]) -> Iterator[Trial]:
        return self.arena.run(jobs)

    def say(self, stage: str, text: str) -> None:
        """Nobody listens."""


def decide(
    batch: SealedBatch, built: Sequence[Built], graders: GraderSet, scenario: Scenario, draw: Draw
) -> Decision:
    """The passes of `evolve.pipeline`, until one converges."""
    arena = DrawnArena(draw)
    context: Any = DrawnContext(batch, arena, seed=0)
    population = Population()
    proposals, accepted, gain_shown = 0, None, False
    known = baseline.run(context)
    if not known.failing:
        return Decision(None, 0, arena.replays, gain_shown)
    again = controls.run(context, known)
    for iteration, kinds in enumerate(scenario.passes, 1):
        for number, one in enumerate(built[proposals : proposals + len(kinds)], 1):
            seen = screen.look(context, known, one.candidate.image)
            population.add_candidate(one, seen, Place(iteration, number), 0)
        proposals += len(kinds)
        chosen = select.run(context, population.entries, population.images, again)
        population.remeasure(chosen)
        if chosen.leader is None:
            continue
        leader = population.built(chosen.leader)
        report = _try(context, leader, graders, scenario)
        gain_shown = gain_shown or report.e_value >= report.e_threshold
        if report.verdict == "converged":
            accepted = int(leader.candidate.image)
            break
        answer = Evaluated(
            word=report.verdict, reasons=report.reasons, candidate_id=leader.candidate.id, gained=(), lost=()
        )
        population.add_answer(answer, leader.candidate.id)
    return Decision(accepted, proposals, arena.replays, gain_shown)


def _try(context: Any, leader: Built, graders: GraderSet, scenario: Scenario) -> TrialReport:
    """The leader on held-out and regression cases, as `evolve.stages.trial` has it done."""
    report, _ = compare(
        context.arena,
        context.batch,
        graders,
        candidate_digest=leader.candidate.id,
        baseline_image=BASELINE,
        candidate_image=leader.candidate.image,
        guard=GUARD,
        seed=context.seed,
        candidates_in_batch=len(scenario.passes),
        policy=POLICY,
    )
    return report
