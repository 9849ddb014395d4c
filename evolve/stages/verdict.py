"""Verdict: does the run end here, and what becomes of candidate and batch. Only numbers decide."""

from collections.abc import Sequence

from evidence import batch as batches
from evolve import runs
from evolve.archive import Entry
from evolve.context import RunContext
from evolve.population import best_of
from evolve.stages.models import Baseline, Built, Decided, Evaluated, RightAnswers, Tried

TOLD_CASES = 5


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


def limit_model(shown: RightAnswers, entries: Sequence[Entry]) -> Decided | None:
    """The model's limit, where every failing visible case was shown to be the model's and no candidate passed one."""
    passed = any(score for entry in entries for score in entry.scores.values())
    if passed or shown.unexplained or not shown.explained:
        return None
    reasons = [
        f"all {len(shown.explained)} failing visible cases fail by the model's answer on correct input: with the right "
        "one in its place they pass in every replay",
        *(
            f"case {one.case_id}, {one.call}: it said {one.said!r}, put in place {one.put!r}, {one.replays} replays"
            for one in shown.explained[:TOLD_CASES]
        ),
    ]
    if len(shown.explained) > TOLD_CASES:
        reasons.append(f"and {len(shown.explained) - TOLD_CASES} more cases")
    reasons.append(
        "another model is needed ([model] in evolve.toml), or a tool workflow that does not ask it"
    )
    return Decided(word="limit_model", reasons=tuple(reasons), candidate_id=None, final=True)


def plateau(seen: list[Evaluated], limit: Decided | None = None) -> Decided:
    """No pass converged: the best candidate that was tried is shown, never merely the last; and it is no success. `limit`:
    what is known to stand in the way of all of them."""
    best = best_of(seen) or seen[-1]
    word = best.word if best.word not in ("", "converged") else "needs_work"
    if limit is not None and word == "needs_work":
        return limit
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
