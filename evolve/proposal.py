"""One proposal: brief → plan ⇄ plan_review → implement ⇄ code_review → build → screen.

Whatever stops it (a review, an empty diff, no gain) ends this proposal alone; what it taught goes to the next.
"""

import random
from dataclasses import replace
from functools import partial

from evolve.archive import choose_parent, worth_merging
from evolve.context import RunContext
from evolve.population import Population
from evolve.settings import WORKFLOWS
from evolve.stage import Place, stage
from evolve.stages import build, code_review, combine, implement, plan, plan_review, screen
from evolve.stages.models import (
    Baseline,
    Brief,
    Built,
    Decided,
    Evaluated,
    Implemented,
    Located,
    Plan,
    Review,
    Screened,
)

ENDS_RUN = ("limit_architecture",)
"""Answers of a review that no other proposal could change."""


def proposers(context: RunContext, iteration: int, located: Located) -> list[str]:
    """Coders of one pass, a proposal each. They take turns; who improves workflows comes beside them where failing turns ran
    one."""
    run = context.settings.run
    first = (iteration - 1) * run.candidates
    names = [run.coders[number % len(run.coders)] for number in range(first, first + run.candidates)]
    joins = located.workflows and run.workflows != "off" and WORKFLOWS not in run.coders
    return [*names, *([WORKFLOWS] if joins else [])]


def propose(
    context: RunContext, place: Place, coder: str, known: Baseline, located: Located, population: Population
) -> None:
    """Let a coder make one proposal and add what came of it to the population."""
    brief = _brief(context, place, coder, population)
    planned, review = _plan(context, place, known, located, brief)
    if review.ok:
        done, review = _implement(context, place, brief, planned, population)
    if review.ok:
        _build_and_screen(context, place, known, done, brief.parents, population)
    else:
        _refused(context, place, review, population)


def merge(
    context: RunContext, iteration: int, proposals: int, known: Baseline, population: Population
) -> None:
    """Put together what mends different cases, where git can: each merge is a candidate like any other. `proposals`: of this
    pass, before."""
    pairs = worth_merging(population.entries)
    for number, (one, other) in enumerate(pairs, proposals + 1):
        place, parents = Place(iteration, number), (one.id, other.id)
        pair = Brief(coder="merge", seed=context.seed, parents=parents, commits=(one.commit, other.commit))
        done = stage(context, place, "combine", pair, partial(combine.run, pair=pair), Implemented)
        if done.commit is not None and _review(context, place, done, population).ok:
            _build_and_screen(context, place, known, done, parents, population)


def _brief(context: RunContext, place: Place, coder: str, population: Population) -> Brief:
    """From the second pass on a proposal may start from an earlier candidate."""
    number = (place.iteration - 1) * context.settings.run.candidates + place.proposal - 1
    rng = random.Random(f"parent:{context.seed}:{number}")
    parent = choose_parent(population.entries, place.iteration, rng)
    return Brief(
        coder=coder,
        seed=context.seed + number,
        parents=(parent.id,) if parent else (),
        commits=(parent.commit,) if parent else (),
        mended=tuple(sorted(parent.mended)) if parent else (),
        lessons=tuple(population.lessons),
        avoid=tuple(population.diffs),
    )


def _plan(
    context: RunContext, place: Place, known: Baseline, located: Located, brief: Brief
) -> tuple[Plan, Review]:
    for number in range(context.settings.run.plan_rounds):
        here = replace(place, round=number)
        run = partial(plan.run, place=here, known=known, located=located, brief=brief)
        planned = stage(context, here, "plan", brief, run, Plan)
        review = stage(
            context,
            here,
            "plan_review",
            planned,
            partial(plan_review.run, place=here, brief=brief, planned=planned),
            Review,
        )
        if review.ok or review.word in ENDS_RUN:
            break
        brief = brief.model_copy(update={"objections": (*brief.objections, review.reason)})
    return planned, review


def _implement(
    context: RunContext, place: Place, brief: Brief, planned: Plan, population: Population
) -> tuple[Implemented, Review]:
    for number in range(context.settings.run.code_rounds):
        here = replace(place, round=number)
        run = partial(implement.run, place=here, brief=brief, planned=planned)
        done = stage(context, here, "implement", planned, run, Implemented)
        review = _review(context, here, done, population, planned)
        if review.ok or review.word == "cheated":
            break
        planned = plan.again(planned, review.reason)
    return done, review


def _review(
    context: RunContext, place: Place, done: Implemented, population: Population, planned: Plan | None = None
) -> Review:
    run = partial(code_review.run, place=place, done=done, avoid=tuple(population.diffs), planned=planned)
    review = stage(context, place, "code_review", done, run, Review)
    if done.commit is not None:
        population.diffs.append(done.diff_sha256)
    return review


def _build_and_screen(
    context: RunContext,
    place: Place,
    known: Baseline,
    done: Implemented,
    parents: tuple[str, ...],
    population: Population,
) -> None:
    built = stage(
        context, place, "build", done, partial(build.run, place=place, parents=parents, done=done), Built
    )
    seen = stage(context, place, "screen", built, partial(screen.run, known=known, built=built), Screened)
    population.add_candidate(built, seen, place, done.usd_micros)


def _refused(context: RunContext, place: Place, review: Review, population: Population) -> None:
    """A gate said no: the proposal ends without a candidate; some answers end the run as well."""
    context.say("verdict", f"{place.words}: {review.word}: {review.reason}")
    population.add_answer(
        Evaluated(word=review.word, reasons=(review.reason,), candidate_id=None, gained=(), lost=()),
        place.words,
    )
    if review.word in ENDS_RUN:
        population.ended = Decided(word=review.word, reasons=(review.reason,), candidate_id=None, final=True)
