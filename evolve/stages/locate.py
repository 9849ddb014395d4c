"""Locate: which lines of the baseline do failing replays execute and good ones not? Traced apart from scored trials,
on the baseline alone, so that no candidate ever sees a tracer."""

from collections.abc import Sequence

from evidence.cases import RegressionCase, VisibleCase
from evolve.context import RunContext
from evolve.stages.baseline import jobs
from evolve.stages.models import Baseline, Located, Suspect
from trial.plan import Job
from trial.replay import Replay
from trial.report import Outcome
from trial.spectrum import Coverage, rank

FAILING_REPLAYS = 8
PASSING_REPLAYS = 16
MOST_SUSPECTS = 600


def run(context: RunContext, iteration: int, known: Baseline) -> Located:
    """Replays with line tracing: some failing visible cases, some regression cases; ranked by Ochiai."""
    visible = [case for case in context.batch.visible if case.id in known.failing][:FAILING_REPLAYS]
    chosen = jobs(context, [*visible, *_alike(context, visible)])

    def look(job: Job, replay: Replay) -> tuple[Outcome, Coverage]:
        grades = context.graders.grade(job.case, replay)
        good = bool(grades) and all(grade.passed for grade in grades)
        return ("pass" if good else "fail"), replay.coverage or {}

    seen: dict[Outcome, list[Coverage]] = {"pass": [], "fail": [], "invalid": []}
    for played in context.arena.play(chosen, look, coverage=True):
        context.spend_trials(1)
        if played.value is not None and played.value[1]:
            seen[played.value[0]].append(played.value[1])
    suspects = rank(seen["fail"], seen["pass"])[:MOST_SUSPECTS]
    if suspects:
        first = suspects[0]
        context.say("locate", f"most suspicious: {first.file}:{first.line} ({first.score:.2f})")
    return Located(
        suspects=tuple(Suspect(file=s.file, line=s.line, score=s.score) for s in suspects),
        failing_replays=len(seen["fail"]),
        passing_replays=len(seen["pass"]),
    )


def _alike(context: RunContext, failing: Sequence[VisibleCase]) -> list[RegressionCase]:
    """Good cases to compare with, those first that the same graders judge: they share the failing ones' path, so that
    what sets the two apart stands out."""
    wanted = {grader.name for case in failing for grader in case.graders}
    names = {case.id: {grader.name for grader in case.graders} for case in context.batch.regression}
    return sorted(context.batch.regression, key=lambda case: -len(names[case.id] & wanted))[:PASSING_REPLAYS]
