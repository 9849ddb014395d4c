"""The judge's part in a run: keypoints before anything is proposed, then each pass's able candidates, in two orders."""

from dataclasses import replace
from functools import partial

from evidence.canonical import digest
from evolve.archive import Entry
from evolve.context import RunContext
from evolve.judge.identity import identity
from evolve.judge.lock import lock
from evolve.judge.models import (
    Calibrated,
    Judged,
    JudgedSoFar,
    JudgeGiven,
    Keypoints,
    Pair,
    Pairs,
    Scored,
)
from evolve.judge.shown import failed
from evolve.population import Population
from evolve.stage import Place, stage
from evolve.stages import agree, calibrate, judge, keypoints
from evolve.stages.models import Baseline

ORDERS = 2


def fix_keypoints(context: RunContext, known: Baseline) -> Keypoints | None:
    """None: nobody is to judge, or the judging failed, which is told."""
    if not context.settings.run.judge:
        return None
    who = identity(context.settings)
    given = JudgeGiven(judge=who, baseline=digest(known))
    fixed = stage(
        context, Place(), "keypoints", given, partial(keypoints.run, judge=who, known=known), Keypoints
    )
    if fixed.trouble:
        context.say("keypoints", failed(fixed.trouble))
        return None
    if not lock(context.store, context.run_id, fixed):
        context.say("keypoints", failed("these are not the keypoints that were locked"))
        return None
    return fixed


def judge_pass(
    context: RunContext, iteration: int, known: Baseline, fixed: Keypoints | None, population: Population
) -> None:
    """Judge what the pass brought and could lead, and let it count in the choice if the judge does."""
    if fixed is None:
        return
    for entry in population.entries:
        if entry.iteration == iteration and entry.is_sound and entry.gain > 0:
            population.judged[entry.id] = _judge(context, known, fixed, entry, population)
    so_far = JudgedSoFar(judge=fixed.judge, judged=tuple(digest(j) for j in population.judged.values()))
    run = partial(calibrate.run, judge=fixed.judge)
    found = stage(context, Place(iteration), "calibrate", so_far, run, Calibrated)
    population.weigh_judgements(found.counts)


def _judge(
    context: RunContext, known: Baseline, fixed: Keypoints, entry: Entry, population: Population
) -> Judged:
    pairs, place = _pairs(known, fixed, entry, population), population.place(entry.id)
    orders = []
    for number in range(ORDERS if pairs.pairs else 0):
        here = replace(place, round=number)
        run = partial(judge.run, place=here, pairs=pairs)
        orders.append(stage(context, here, "judge", pairs, run, Scored))
        if orders[-1].trouble:
            break
    return stage(context, place, "agree", pairs, partial(agree.run, pairs=pairs, orders=orders), Judged)


def _pairs(known: Baseline, fixed: Keypoints, entry: Entry, population: Population) -> Pairs:
    """By what the graders saw in `baseline` and `screen`: visible cases alone."""
    replies = population.replies(entry.id)
    pairs = [
        Pair(
            case_id=case.case_id,
            points=case.points,
            baseline=known.replies.get(case.case_id, ""),
            candidate=replies.get(case.case_id, ""),
            mended=entry.scores.get(case.case_id) == 1.0,
        )
        for case in fixed.cases
    ]
    return Pairs(
        judge=fixed.judge,
        keypoints=digest(fixed),
        candidate_id=entry.id,
        pairs=tuple(pair for pair in pairs if pair.baseline != pair.candidate),
        alike=tuple(pair.case_id for pair in pairs if pair.baseline == pair.candidate),
    )
