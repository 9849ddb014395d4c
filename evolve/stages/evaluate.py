"""Evaluate: what this candidate gained and lost, case by case, in words for people and for the next pass."""

from pydantic import TypeAdapter

from evolve.context import RunContext
from evolve.stages.models import Built, Evaluated, Tried
from trial.report import Trial


def run(context: RunContext, built: Built, result: Tried) -> Evaluated:
    trials = TypeAdapter(list[Trial]).validate_json(context.store.blobs.get(result.trials_blob))
    outcome = {(t.case_id, t.arm): t.outcome for t in trials if t.split != "honeypot"}
    cases = sorted({case for case, _ in outcome})

    def moved(before: str, after: str) -> tuple[str, ...]:
        return tuple(
            c
            for c in cases
            if outcome.get((c, "baseline")) == before and outcome.get((c, "candidate")) == after
        )

    report = result.report
    return Evaluated(
        word=report.verdict,
        reasons=report.reasons,
        candidate_id=built.candidate.id,
        gained=moved("fail", "pass"),
        lost=moved("pass", "fail"),
    )
