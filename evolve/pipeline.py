"""One evolution run: baseline, then passes of locate → plan → plan_review → implement → code_review → build → trial →
evaluate → verdict, until a candidate converges or a limit is reached.

Every stage reads stored input and writes stored output. A stage whose row is `done` for the same input is never run
again, so a run may be killed anywhere and started again; an unfinished stage starts from scratch and nothing that it left
behind is read as an answer.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from containers.runtime import RuntimeBroken
from evidence.canonical import canonical_json, digest, utcnow
from evolve import runs
from evolve.budget import OutOfBudget
from evolve.context import RunContext
from evolve.stages import (
    baseline,
    build,
    code_review,
    evaluate,
    implement,
    locate,
    plan,
    plan_review,
    trial,
    verdict,
)
from evolve.stages.models import (
    Baseline,
    Built,
    Decided,
    Evaluated,
    Implemented,
    Located,
    Plan,
    Review,
    Tried,
)
from evolve.tables import RunRow, StageRow

Out = TypeVar("Out", bound=BaseModel)


def execute(context: RunContext) -> str:
    """Work on the run until it ends; returns the verdict word (empty when it was stopped).

    Raises RuntimeBroken when the arena broke: the run is then `failed` and can be resumed.
    """
    runs.set_state(context.store, context.run_id, "running", finished=None)
    try:
        decided = _passes(context)
    except OutOfBudget as limit:
        decided = Decided(word="out_of_budget", reasons=(str(limit),), candidate_id=None, final=True)
    except runs.Stopped:
        _book(context)
        runs.mark_stopped(context.store, context.run_id)
        context.say("run", "stopped")
        return ""
    except RuntimeBroken as error:
        _book(context)
        runs.mark_stopped(context.store, context.run_id, f"the arena broke: {error}", "failed")
        context.say("run", f"the arena broke: {error}")
        raise
    _book(context)
    verdict.conclude(context, decided)
    return decided.word


def _passes(context: RunContext) -> Decided:
    known = stage(context, 0, "baseline", context.batch, baseline.run, Baseline)
    if not known.failing:
        reason = "no visible case fails on the baseline any more"
        return Decided(word="needs_work", reasons=(reason,), candidate_id=None, final=True)
    located = stage(context, 0, "locate", known, lambda c, i: locate.run(c, i, known), Located, shared=True)
    tried: list[Evaluated] = []
    avoid: list[str] = []
    for iteration in range(1, context.settings.run.iterations + 1):
        decided, diff = _pass(context, iteration, known, located, tried, avoid)
        if diff:
            avoid.append(diff)
        if decided.final:
            return decided
    return verdict.plateau(tried)


def _pass(
    context: RunContext,
    iteration: int,
    known: Baseline,
    located: Located,
    tried: list[Evaluated],
    avoid: list[str],
) -> tuple[Decided, str]:
    """One pass; returns its decision and the hash of the diff that it tried."""

    def step(name: str, given: BaseModel, run: Callable[[RunContext, int], Out], out: type[Out]) -> Out:
        return stage(context, iteration, name, given, lambda ctx, _: run(ctx, iteration), out)

    planned = step("plan", located, lambda c, i: plan.run(c, i, known, located, avoid, tried), Plan)
    review = step("plan_review", planned, lambda c, i: plan_review.run(c, planned), Review)
    if not review.ok:
        return _refused(context, iteration, review, tried), ""
    done = step("implement", planned, lambda c, i: implement.run(c, i, planned), Implemented)
    review = step("code_review", done, lambda c, i: code_review.run(c, planned, done), Review)
    if not review.ok:
        return _refused(context, iteration, review, tried), done.diff_sha256
    built = step("build", done, lambda c, i: build.run(c, i, done), Built)
    result = step("trial", built, lambda c, i: trial.run(c, built), Tried)
    seen = step("evaluate", result, lambda c, i: evaluate.run(c, built, result), Evaluated)
    tried.append(seen)
    decided = step("verdict", seen, lambda c, i: verdict.run(c, built, result, seen), Decided)
    return decided, done.diff_sha256


def _refused(context: RunContext, iteration: int, review: Review, tried: list[Evaluated]) -> Decided:
    """A gate said no: the pass ends without a candidate; some answers end the run as well."""
    seen = Evaluated(word=review.word, reasons=(review.reason,), candidate_id=None, gained=(), lost=())
    tried.append(seen)
    context.say("verdict", f"pass {iteration}: {review.word}: {review.reason}")
    final = review.word in ("limit_architecture", "limit_model")
    return Decided(word=review.word, reasons=(review.reason,), candidate_id=None, final=final)


def stage(
    context: RunContext,
    iteration: int,
    name: str,
    given: BaseModel,
    run: Callable[[RunContext, int], Out],
    out: type[Out],
    shared: bool = False,
) -> Out:
    """Run one stage unless its stored output answers the same input already. `shared`: another run's output on this
    sealed batch will do; never for what a verdict rests on."""
    runs.raise_if_stopping(context.store, context.run_id)
    context.budget.check()
    input_digest = digest(given)
    stored = _begin(context, iteration, name, input_digest, shared)
    if stored is not None:
        return out.model_validate_json(context.store.blobs.get(stored))
    trials_before = context.budget.trials
    result = run(context, iteration)
    blob = context.store.blobs.put(canonical_json(result))
    _finish(context, iteration, name, blob, context.budget.trials - trials_before)
    return result


def _row(context: RunContext, iteration: int, name: str) -> SelectOfScalar[StageRow]:
    return select(StageRow).where(
        StageRow.run_id == context.run_id, StageRow.iteration == iteration, StageRow.name == name
    )


def _of_other_runs(context: RunContext, name: str, input_digest: str) -> SelectOfScalar[StageRow]:
    return (
        select(StageRow)
        .join(RunRow, col(RunRow.id) == StageRow.run_id)
        .where(RunRow.batch_digest == context.batch.digest, RunRow.seed == context.seed)
        .where(StageRow.name == name, StageRow.state == "done", StageRow.input_digest == input_digest)
    )


def _begin(context: RunContext, iteration: int, name: str, input_digest: str, shared: bool) -> str | None:
    with context.store.write() as session:
        row = session.exec(_row(context, iteration, name)).first()
        if row is not None and row.state == "done" and row.input_digest == input_digest:
            return row.output_blob
        if row is None:
            row = StageRow(run_id=context.run_id, iteration=iteration, name=name, input_digest=input_digest)
        else:
            row.attempts += 1
            row.state, row.input_digest, row.output_blob = "started", input_digest, None
            row.started, row.finished = utcnow(), None
        if shared and (known := session.exec(_of_other_runs(context, name, input_digest)).first()):
            row.state, row.output_blob, row.finished = "done", known.output_blob, utcnow()
            session.add(row)
            return known.output_blob
        session.add(row)
    context.say(name, f"pass {iteration}: {name}" if iteration else name)
    context.kill_point(f"{name}:begun")
    return None


def _finish(context: RunContext, iteration: int, name: str, blob: str, trials: int) -> None:
    context.kill_point(f"{name}:stored")
    with context.store.write() as session:
        row = session.exec(_row(context, iteration, name)).one()
        row.state, row.output_blob, row.finished, row.trials = "done", blob, utcnow(), trials
        session.add(row)
    _book(context)
    context.kill_point(f"{name}:done")


def _book(context: RunContext) -> None:
    spent = context.arena.spent
    context.budget.usd_micros, context.budget.tokens = spent.micro_usd, spent.tokens
    with context.store.write() as session:
        row = runs.get_run(session, context.run_id)
        row.trials, row.seconds = context.budget.trials, context.budget.seconds
        row.usd_micros, row.tokens = context.budget.usd_micros, context.budget.tokens
        session.add(row)
