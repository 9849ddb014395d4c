"""Baseline: how the live image does on the visible cases, replayed now. The logged failure is never taken for granted."""

from collections.abc import Sequence

from evolve.context import RunContext
from evolve.stages.models import Baseline
from trial.plan import Job, TrialCase


def run(context: RunContext) -> Baseline:
    failing, passing, unmeasured, reasons, replies = [], [], [], {}, {}
    for trial in context.replay(jobs(context, context.batch.visible)):
        if trial.outcome == "fail":
            failing.append(trial.case_id)
            reasons[trial.case_id] = trial.reason
            replies[trial.case_id] = trial.reply
        elif trial.outcome == "pass":
            passing.append(trial.case_id)
        else:
            unmeasured.append(trial.case_id)
            reasons[trial.case_id] = trial.reason
    context.say(
        "baseline", f"{len(failing)} of {len(context.batch.visible)} visible cases fail on the live image"
    )
    return Baseline(
        failing=tuple(failing),
        passing=tuple(passing),
        unmeasured=tuple(unmeasured),
        reasons=reasons,
        replies=replies,
    )


def jobs(context: RunContext, cases: Sequence[TrialCase], *, seed: int | None = None) -> list[Job]:
    """One replay of each case on the baseline's image; with the run's seed unless another is given."""
    seed = context.seed if seed is None else seed
    return [Job(case, "baseline", context.batch.baseline_digest, seed) for case in cases]
