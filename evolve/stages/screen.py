"""Screen: what a candidate does on the visible cases, cheapest first. Never on held-out ones: what drives a choice may not
prove it."""

from collections.abc import Sequence

from evidence.cases import VisibleCase
from evolve import runs
from evolve.context import RunContext
from evolve.stages.models import Baseline, Built, Screened
from trial.plan import Job


def run(context: RunContext, known: Baseline, built: Built) -> Screened:
    """Failing cases first; a candidate that mends none of them is not worth the rest."""
    failing = [case for case in context.batch.visible if case.id in known.failing]
    passing = [case for case in context.batch.visible if case.id in known.passing]
    tried = list(context.replay(jobs(built.candidate.image, failing, context.seed)))
    scores = {trial.case_id: float(trial.outcome == "pass") for trial in tried}
    useless = not any(scores.values())
    rest = [] if useless else list(context.replay(jobs(built.candidate.image, passing, context.seed)))
    lost = tuple(trial.case_id for trial in rest if trial.outcome == "fail")
    if useless or lost:
        _refuse(context, built)
    context.say(
        "screen",
        f"mends {sum(scores.values()):.0f} of {len(scores)} failing visible cases, loses {len(lost)}",
    )
    reasons = {trial.case_id: trial.reason for trial in (*tried, *rest) if trial.outcome != "pass"}
    return Screened(scores=scores, lost=lost, reasons=reasons)


def _refuse(context: RunContext, built: Built) -> None:
    with context.store.write() as session:
        row = runs.get_candidate(session, built.candidate.id)
        row.state = "refused"
        session.add(row)


def jobs(image: str, cases: Sequence[VisibleCase], seed: int) -> list[Job]:
    """One replay of each case on a candidate's image."""
    return [Job(case, "candidate", image, seed) for case in cases]
