"""One evolution run: what is known before the first pass, then passes until a candidate converges or a limit is reached.

In a pass several proposals are made, each by itself (`evolve.proposal`). What they show on the visible cases decides who
leads, is merged, or fathers the next pass (`evolve.archive`); only the leader is tried on held-out cases, so that those
never drove a choice. Every step is a stage: stored, and not repeated after a kill.
"""

from functools import partial

from containers.runtime import RuntimeBroken
from evolve import runs
from evolve.budget import OutOfBudget
from evolve.context import RunContext
from evolve.judging import fix_keypoints, judge_pass
from evolve.population import Population
from evolve.proposal import merge, propose, proposers
from evolve.stage import Place, stage
from evolve.stages import baseline, controls, evaluate, locate, right_answer, select, trial, verdict
from evolve.stages.models import (
    Baseline,
    Controls,
    Decided,
    Evaluated,
    Failing,
    Located,
    RightAnswers,
    Selected,
    Tried,
)


def execute(context: RunContext) -> Decided | None:
    """Work on the run until it is decided; None when it was stopped. `verdict.conclude` writes its end.

    Raises RuntimeBroken when the arena broke: the run is then `failed` and can be resumed.
    """
    runs.set_state(context.store, context.run_id, "running", finished=None)
    population = Population()
    try:
        decided = _passes(context, population)
    except OutOfBudget as limit:
        best = population.best
        decided = Decided(
            word="out_of_budget",
            reasons=(str(limit),),
            candidate_id=best.candidate_id if best else None,
            final=True,
        )
    except runs.Stopped:
        runs.mark_stopped(context.store, context.run_id)
        context.say("run", "stopped")
        return None
    except RuntimeBroken as error:
        runs.mark_stopped(context.store, context.run_id, f"the arena broke: {error}", "failed")
        context.say("run", f"the arena broke: {error}")
        raise
    return decided


def _passes(context: RunContext, population: Population) -> Decided:
    start = Place()
    known = stage(context, start, "baseline", context.batch, baseline.run, Baseline)
    if not known.failing:
        return verdict.nothing_fails(known)
    located = stage(context, start, "locate", known, partial(locate.run, known=known), Located, shared=True)
    field = stage(
        context, start, "controls", known, partial(controls.run, known=known), Controls, shared=True
    )
    given = Failing(baseline=known, controls=field)
    shown = stage(context, start, "right_answer", given, partial(right_answer.run, given=given), RightAnswers)
    limit = verdict.limit_model(shown, population.entries)
    if limit is not None and context.settings.run.stop_at_limit:
        return limit
    keypoints = fix_keypoints(context, known)
    for iteration in range(1, context.settings.run.iterations + 1):
        coders = proposers(context, iteration, located)
        for number, coder in enumerate(coders, 1):
            propose(context, Place(iteration, number), coder, known, located, population)
            if population.ended is not None:
                return population.ended
        merge(context, iteration, len(coders), known, population)
        judge_pass(context, iteration, known, keypoints, population)
        decided = _try_the_leader(context, iteration, field, population)
        if decided is not None and decided.final:
            return decided
    return verdict.plateau(population.seen, verdict.limit_model(shown, population.entries))


def _try_the_leader(
    context: RunContext, iteration: int, field: Controls, population: Population
) -> Decided | None:
    """Held-out cases for one candidate a pass at most; None when none is worth them."""
    place = Place(iteration)
    chosen = stage(
        context,
        place,
        "select",
        population.standing(),
        partial(select.run, entries=population.entries, images=population.images, field=field),
        Selected,
    )
    population.remeasure(chosen)
    if chosen.leader is None:
        if chosen.order:
            lucky = Evaluated(
                word=chosen.word, reasons=(chosen.reason,), candidate_id=None, gained=(), lost=()
            )
            population.add_answer(lucky, place.words)
        return None
    built = population.built(chosen.leader)
    leads = partial(stage, context, place, candidate=chosen.leader)
    result = leads("trial", built, partial(trial.run, built=built), Tried)
    seen = leads("evaluate", result, partial(evaluate.run, built=built, result=result), Evaluated)
    population.add_answer(seen, f"{chosen.leader} on held-out cases")
    return leads("verdict", seen, partial(verdict.run, built=built, result=result, seen=seen), Decided)
