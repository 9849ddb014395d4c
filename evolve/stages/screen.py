"""Screen: what a candidate does on the visible cases, cheapest first. Never on held-out ones: what drives a choice may not
prove it."""

from collections.abc import Sequence

from evidence.cases import VisibleCase
from evolve import runs
from evolve.context import RunContext
from evolve.stages.models import Baseline, Built, Screened
from evolve.stages.scores import scores_of
from trial.plan import Job


def run(context: RunContext, known: Baseline, built: Built) -> Screened:
    """What it does, and a candidate that mends nothing or breaks something is refused. One without a score is not: it was
    not measured."""
    seen = look(context, known, built.candidate.image)
    if (seen.scores and not any(seen.scores.values())) or seen.lost:
        _refuse(context, built)
    return seen


def look(context: RunContext, known: Baseline, image: str) -> Screened:
    """Failing cases first; a candidate that mends none of them is not worth the rest."""
    failing = [case for case in context.batch.visible if case.id in known.failing]
    passing = [case for case in context.batch.visible if case.id in known.passing]
    tried = list(context.replay(jobs(image, failing, context.seed)))
    scores = scores_of(tried)
    rest = list(context.replay(jobs(image, passing, context.seed))) if any(scores.values()) else []
    lost = tuple(trial.case_id for trial in rest if trial.outcome == "fail")
    context.say(
        "screen",
        f"mends {sum(scores.values()):.0f} of {len(scores)} failing visible cases, loses {len(lost)}"
        + (f"; the arena broke {broken}" if (broken := len(failing) - len(scores)) else ""),
    )
    reasons = {trial.case_id: trial.reason for trial in (*tried, *rest) if trial.outcome != "pass"}
    replies = {trial.case_id: trial.reply for trial in tried}
    return Screened(scores=scores, lost=lost, reasons=reasons, replies=replies)


def _refuse(context: RunContext, built: Built) -> None:
    with context.store.write() as session:
        row = runs.get_candidate(session, built.candidate.id)
        row.state = "refused"
        session.add(row)


def jobs(image: str, cases: Sequence[VisibleCase], seed: int) -> list[Job]:
    """One replay of each case on a candidate's image."""
    return [Job(case, "candidate", image, seed) for case in cases]
