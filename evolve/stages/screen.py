"""Screen: what a candidate does on the visible cases, cheapest first. Never on held-out ones: what drives a choice may not
prove it."""

from evidence.cases import VisibleCase
from evolve import runs
from evolve.context import RunContext
from evolve.stages.models import Baseline, Built, Screened
from trial.plan import Job
from trial.report import Trial


def run(context: RunContext, known: Baseline, built: Built) -> Screened:
    """Failing cases first; a candidate that mends none of them is not worth the rest."""
    failing = [case for case in context.batch.visible if case.id in known.failing]
    passing = [case for case in context.batch.visible if case.id in known.passing]
    tried = replay(context, built.candidate.image, failing, context.seed)
    scores = {trial.case_id: float(trial.outcome == "pass") for trial in tried}
    abandoned = not any(scores.values())
    rest = [] if abandoned else replay(context, built.candidate.image, passing, context.seed)
    lost = tuple(trial.case_id for trial in rest if trial.outcome == "fail")
    if abandoned or lost:
        _refuse(context, built)
    context.say(
        "screen",
        f"mends {sum(scores.values()):.0f} of {len(scores)} failing visible cases, loses {len(lost)}",
    )
    reasons = {trial.case_id: trial.reason for trial in (*tried, *rest) if trial.outcome != "pass"}
    return Screened(scores=scores, lost=lost, reasons=reasons, abandoned=abandoned)


def _refuse(context: RunContext, built: Built) -> None:
    with context.store.write() as session:
        row = runs.get_candidate(session, built.candidate.id)
        row.state = "refused"
        session.add(row)


def replay(context: RunContext, image: str, cases: list[VisibleCase], seed: int) -> list[Trial]:
    """One replay of each case on an image; booked."""
    found = []
    for trial in context.arena.run(
        [Job(case, "candidate", image, seed) for case in cases], context.graders.grade
    ):
        context.spend_trials(1)
        found.append(trial)
    return found
