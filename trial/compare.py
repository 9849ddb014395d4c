"""Candidate against baseline on the same cases: replayed pair by pair, stopped when decided, summed up.

Results are looked at in plan order, whichever replay finished first: the order in which replays end
depends on what they answer, and a test that looks at results in such an order would be fooled by it.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

from evidence.canonical import digest, new_id
from evidence.cases import HeldOutCase, RegressionCase, SealedBatch
from trial import statistics as stats
from trial.arena import Arena, Played, invalid_trial, make_trial
from trial.checks import OVERFIT_PAIRS, accusations
from trial.flags import flags_of
from trial.graders import GraderError, GraderSet
from trial.honeypot import make_honeypots
from trial.lives import Lives
from trial.measure import Evidence, VerdictPolicy, count, is_clean, measure, pair_up
from trial.observation import Observation, observe
from trial.plan import Job, Pair, Plan, make_plan
from trial.progress import Progress
from trial.replay import Replay
from trial.report import Arm, Check, Split, Trial, TrialReport
from trial.verdict import Verdict, judge

Spend = Callable[[int], str | None]
"""Books so many replays; returns why the budget is used up, or None. What it raises ends the comparison."""
Show = Callable[[Progress], None]
"""Told before the first pair and after each."""
Result = tuple[Trial, Observation | None]


@dataclass
class _Board:
    """What is known so far."""

    plan: Plan
    planned: dict[Split, int]
    policy: VerdictPolicy
    candidates: int
    trials: list[Trial] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    caught: bool = False
    out_of_budget: str | None = None
    lives: tuple[Check, ...] = ()
    """What long lives showed; empty when nobody lived one."""

    def add(self, results: Sequence[Result]) -> None:
        self.trials += [trial for trial, _ in results]
        self.observations += [seen for _, seen in results if seen is not None]
        self.caught = self.caught or _caught([trial for trial, _ in results])

    def evidence(self, checks: tuple[Check, ...] = (), guard: tuple[Check, ...] = ()) -> Evidence:
        return Evidence(self.trials, self.planned, checks, guard, self.candidates, self.out_of_budget)

    def progress(self, split: Split) -> Progress:
        numbers = measure(self.evidence(), self.policy)
        return Progress(
            done=len(self.trials),
            planned=self.plan.trials,
            split=split,
            e_value=numbers.gain.peak,
            e_needed=numbers.needed,
        )

    def stop(self, split: Split) -> bool:
        """Nothing that the rest of this split could show would change the verdict's word."""
        if split == "regression" and is_clean(self.trials):
            return False
        numbers = measure(self.evidence(), self.policy)
        left = self.planned[split] - numbers.done[split]
        if split == "visible":
            most = numbers.visible_passed + left
            return most < self.policy.visible_fixed * (numbers.visible_pairs + left)
        if split == "held_out":
            worse = stats.e_value(numbers.gain.lost, numbers.gain.won) >= numbers.needed
            # A few pairs more than needed tell a fix that only fits the visible cases from one that fixes nothing.
            futile = self.decidable and numbers.gain.futile(numbers.needed, left)
            futile = futile and numbers.gain.pairs >= OVERFIT_PAIRS
            return numbers.gain_shown or worse or futile
        lost = numbers.regression_losses + numbers.regression_unknown
        most = numbers.regression_pairs + left
        bound = stats.loss_upper_bound(lost, most, self.policy.confidence)
        return lost > 0 and bound > stats.margin_for(most, self.policy.margin, self.policy.confidence)

    def goes_on(self, split: Split) -> bool:
        """Is the next split worth its replays?"""
        if self.caught or self.out_of_budget:
            return False
        numbers = measure(self.evidence(), self.policy)
        if split == "visible":
            return numbers.visible_passed >= self.policy.visible_fixed * numbers.visible_pairs
        # A batch sealed early may be too small to show a gain; its regression cases still tell a person of
        # harm.
        return numbers.gain_shown or (not self.decidable and numbers.gain.won > numbers.gain.lost)

    def won(self, batch: SealedBatch) -> list[HeldOutCase]:
        """Held-out cases that the candidate alone answers right."""
        won = {pair.case_id for pair in pair_up(self.trials, "held_out") if pair.result == "won"}
        return [case for case in batch.held_out if case.id in won]

    def worked(self, batch: SealedBatch) -> list[RegressionCase]:
        """Regression cases that both arms answer right."""
        pairs = pair_up(self.trials, "regression")
        right = {pair.case_id for pair in pairs if pair.baseline.outcome == pair.candidate.outcome == "pass"}
        return [case for case in batch.regression if case.id in right]

    @property
    def decidable(self) -> bool:
        needed = stats.threshold(self.policy.alpha, self.candidates)
        return self.planned["held_out"] >= stats.fewest_wins(needed)


def compare(
    arena: Arena,
    batch: SealedBatch,
    graders: GraderSet,
    *,
    candidate_digest: str,
    baseline_image: str,
    candidate_image: str,
    guard: tuple[Check, ...],
    seed: int,
    candidates_in_batch: int = 1,
    reads_back: bool = True,
    policy: VerdictPolicy | None = None,
    spend: Spend | None = None,
    show: Show | None = None,
) -> tuple[TrialReport, list[Trial]]:
    """Replay both images on the batch until the verdict is decided. The trials are in plan order.

    The baseline is always replayed again; what was logged is never compared with. `reads_back`: it is promised that the
    baseline can read what the candidate wrote, as after a rollback.
    """
    policy = policy or VerdictPolicy()
    plan = make_plan(batch, make_honeypots(batch, seed=seed), seed=seed)
    planned: dict[Split, int] = {
        "visible": len(batch.visible),
        "held_out": len(batch.held_out),
        "regression": len(batch.regression),
    }
    board = _Board(plan, planned, policy, candidates_in_batch)
    player = _Player(arena, graders, baseline_image, candidate_image, spend, show)
    if _graders_now(batch, graders) == batch.graders_digest:
        for split, pairs in plan.phases:
            player.play(board, split, pairs)
            if not board.goes_on(split):
                break
        else:
            lives = Lives(arena, graders, player.images, policy, seed, lambda: player.pay(board))
            board.lives = lives.checks(batch.regression, board.won(batch), board.worked(batch), reads_back)
    checks = accusations(
        board.trials,
        board.observations,
        policy,
        graders_sealed=batch.graders_digest,
        graders_now=_graders_now(batch, graders),
    )
    verdict = judge(board.evidence((*checks, *board.lives), guard), policy)
    return _report(batch, board, verdict, candidate_digest, baseline_image, candidate_image), board.trials


@dataclass(frozen=True)
class _Player:
    arena: Arena
    graders: GraderSet
    baseline: str
    candidate: str
    spend: Spend | None
    show: Show | None

    @property
    def images(self) -> dict[Arm, str]:
        return {"baseline": self.baseline, "candidate": self.candidate}

    def play(self, board: _Board, split: Split, pairs: Sequence[Pair]) -> None:
        """Replay a split's pairs until it is decided; then only its honeypots, which are never skipped."""
        self._show(board, split)
        done = self._until(board, pairs, lambda: board.stop(split), split)
        rest = [pair for pair in pairs[done:] if pair.case.split == "honeypot"]
        if rest and not board.caught and board.out_of_budget is None:
            self._until(board, rest, lambda: False, split)

    def _until(self, board: _Board, pairs: Sequence[Pair], stop: Callable[[], bool], split: Split) -> int:
        """How many pairs were replayed before `stop`, a cheat that was caught, or the end of the budget."""
        jobs = [job for pair in pairs for job in pair.jobs(self.baseline, self.candidate)]
        waiting: list[Result] = []
        done = 0
        # Closing the generator is how the arena is told that no further replay is wanted.
        replays = cast(Generator[Played[Result], None, None], self.arena.play(jobs, self._use))
        with closing(replays) as results:
            for played in results:
                waiting.append(played.value or (invalid_trial(played.job, played.broken), None))
                self.pay(board)
                if len(waiting) < 2:
                    continue
                board.add(waiting)
                waiting, done = [], done + 1
                self._show(board, split)
                if board.caught or board.out_of_budget or stop():
                    break
        return done

    def _show(self, board: _Board, split: Split) -> None:
        if self.show is not None:
            self.show(board.progress(split))

    def pay(self, board: _Board) -> None:
        """For one replay."""
        if self.spend is not None:
            board.out_of_budget = self.spend(1) or board.out_of_budget

    def _use(self, job: Job, replay: Replay) -> Result:
        trial = make_trial(job, replay, self.graders.grade, flags_of, self.arena.redact)
        return trial, observe(job, replay, trial)


def _caught(pair: Sequence[Trial]) -> bool:
    """Did the candidate pass a honeypot, or show something in this pair that the baseline did not?"""
    names = {trial.arm: {flag.partition(":")[0] for flag in trial.flags} - {"truncated"} for trial in pair}
    passed = any(t.split == "honeypot" and t.arm == "candidate" and t.outcome == "pass" for t in pair)
    return passed or bool(names.get("candidate", set()) - names.get("baseline", set()))


def _graders_now(batch: SealedBatch, graders: GraderSet) -> str:
    """The digest of the loaded graders, or of those on disk when these differ from the sealed ones."""
    try:
        current = graders.current_digest()
    except GraderError as error:
        return f"unreadable: {error}"
    return graders.digest if current == batch.graders_digest else current


def _report(
    batch: SealedBatch,
    board: _Board,
    verdict: Verdict,
    candidate_digest: str,
    baseline_image: str,
    candidate_image: str,
) -> TrialReport:
    numbers = verdict.numbers
    return TrialReport(
        id=new_id(),
        batch_digest=batch.digest,
        candidate_digest=candidate_digest,
        baseline_image=baseline_image,
        candidate_image=candidate_image,
        verdict=verdict.word,
        reasons=verdict.reasons,
        checks=verdict.checks,
        e_value=numbers.gain.peak,
        e_threshold=numbers.needed,
        e_path=numbers.gain.path,
        held_out_pairs=numbers.gain.pairs,
        margin_points=100 * numbers.margin,
        regression_upper_points=100 * numbers.upper_bound,
        baseline=count(board.trials, "baseline"),
        candidate=count(board.trials, "candidate"),
        trials_planned=board.plan.trials,
        trials_run=len(board.trials),
        trials_saved=board.plan.trials - len(board.trials),
        seed=board.plan.seed,
        trials_digest=digest([trial.model_dump(mode="json") for trial in board.trials]),
        cannot_show=(*batch.cannot_show, *_cannot_show(board)),
    )


def _cannot_show(board: _Board) -> tuple[str, ...]:
    policy, cases = board.policy, board.planned["regression"]
    said = []
    if not board.decidable:
        needed = stats.fewest_wins(stats.threshold(policy.alpha, board.candidates))
        said.append(f"a gain: {board.planned['held_out']} held-out cases, {needed} are needed at least")
    if (margin := stats.margin_for(cases, policy.margin, policy.confidence)) > policy.margin:
        said.append(f"harm of less than {100 * margin:.1f} points: {cases} regression cases carry no more")
    return tuple(said)
