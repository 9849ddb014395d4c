"""Verdict: does the run end here, and what becomes of candidate and batch. Only numbers decide."""

from evidence import batch as batches
from evolve import runs
from evolve.context import RunContext
from evolve.population import best_of
from evolve.stages.models import Baseline, Built, Decided, Evaluated, Tried


def run(context: RunContext, built: Built, result: Tried, seen: Evaluated) -> Decided:
    """Record the verdict on the candidate. A converged candidate ends the run; a cheat ends alone."""
    report = result.report
    with context.store.write() as session:
        row = runs.get_candidate(session, built.candidate.id)
        row.verdict = report.verdict
        row.report_blob, row.trials_blob = report.digest, result.trials_blob
        row.state = "ready" if report.verdict == "converged" else "tried"
        session.add(row)
    context.say("verdict", f"{report.verdict}: {'; '.join(report.reasons)}", e_value=report.e_value)
    final = report.verdict in ("converged", "out_of_budget")
    return Decided(word=report.verdict, reasons=report.reasons, candidate_id=built.candidate.id, final=final)


def nothing_fails(known: Baseline) -> Decided:
    """There is nothing to mend, as far as the arena let us see."""
    word, reason = "needs_work", "no visible case fails on the baseline any more"
    if known.unmeasured:
        word = "inconclusive"
        reason = (
            f"the arena broke {len(known.unmeasured)} visible cases: {known.reasons[known.unmeasured[0]]}"
        )
    return Decided(word=word, reasons=(reason,), candidate_id=None, final=True)


def plateau(seen: list[Evaluated]) -> Decided:
    """No pass converged: the best candidate that was tried is shown, never merely the last; and it is no success."""
    best = best_of(seen) or seen[-1]
    word = best.word if best.word not in ("", "converged") else "needs_work"
    return Decided(word=word, reasons=best.reasons, candidate_id=best.candidate_id, final=True)


def conclude(context: RunContext, decided: Decided) -> None:
    """Write the run's end, and hand the batch to the approvers or back to `sealed`."""
    reason = "; ".join(decided.reasons)
    converged = decided.word == "converged"
    batches.mark(
        context.store,
        context.batch.id,
        "ready" if converged else "sealed",
        reason=f"run {context.run_id}: {decided.word}: {reason}"[:2000],
        who="evolve",
    )
    runs.set_state(
        context.store,
        context.run_id,
        "finished",
        verdict=decided.word,
        verdict_reason=reason,
        candidate_id=decided.candidate_id,
    )
    context.say("run", f"finished: {decided.word}")
