"""Right answer: is it the model that fails? The failing visible cases are replayed on the baseline with the right answer, as
their graders know it, in the place of the model's. A case that then passes, on input that the service was seen to hand on
whole, fails by the model's answer; whatever else happens leaves it unexplained, and one such case says that the service may
be at fault."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import cast

from evidence.cases import CaseContent, VisibleCase
from evolve.context import RunContext
from evolve.stages.models import Explained, Failing, RightAnswers
from trial.arena import Played
from trial.correct_input import wrong_input
from trial.gateway import chat
from trial.gateway.right_answer import RightAnswer, RightCall
from trial.graders.base import GraderBroken
from trial.graders.reading import stable_text
from trial.graders.right_answer import NoRightAnswer
from trial.graders.selecting import same
from trial.plan import Job, repeats
from trial.replay import Replay

TIMES = 3
"""Replays of each case, so that luck is no explanation."""
FEWEST = 2
"""Valid ones that a case needs."""
SHOWN = 400


class _Unexplained(Exception):
    """The message says why."""


def run(context: RunContext, given: Failing) -> RightAnswers:
    """Cheapest first: what the recording already rules out costs no replay, and the first case that stays unexplained
    ends the replays."""
    known: dict[str, tuple[VisibleCase, RightAnswer, Explained]] = {}
    unexplained = {
        case: f"not measured: {given.baseline.reasons[case]}" for case in given.baseline.unmeasured
    }
    for case in context.batch.visible:
        if case.id in given.baseline.failing:
            try:
                known[case.id] = (case, *_by_the_recording(context, given, case))
            except _Unexplained as error:
                unexplained[case.id] = str(error)
    if not unexplained:
        valid, unexplained = _by_replays(context, {name: known[name][:2] for name in known})
        explained = [
            replayed.model_copy(update={"replays": valid[name]}) for name, (*_, replayed) in known.items()
        ]
        if not unexplained:
            context.say(
                "right_answer", f"{len(explained)} of {len(known)} failing cases fail by the model's answer"
            )
            return RightAnswers(explained=tuple(explained))
    first, why = next(iter(unexplained.items()))
    context.say("right_answer", f"not shown to be the model's: {first}: {why}")
    return RightAnswers(unexplained=unexplained)


def _by_the_recording(
    context: RunContext, given: Failing, case: VisibleCase
) -> tuple[RightAnswer, Explained]:
    """The right answer, and what the model said in its place when the case was recorded."""
    if given.controls.rerun.get(case.id):
        raise _Unexplained("it passes when it is merely asked again")
    try:
        return _differing(context, case, context.graders.right_answer(case))
    except (NoRightAnswer, GraderBroken) as error:
        raise _Unexplained(str(error)) from None


def _differing(context: RunContext, case: VisibleCase, right: RightAnswer) -> tuple[RightAnswer, Explained]:
    if case.cassette.self_reported:
        raise _Unexplained("its calls are known from the service's own log alone")
    earlier = {turn.request_id for turn in case.prelude} - {case.turn.request_id}
    calls = [call for call in case.cassette.calls if call.request_id not in earlier]
    if why := wrong_input(case, calls, right, context.graders.fits):
        raise _Unexplained(f"as recorded, {why}")
    models = sorted((call for call in calls if call.kind == "model"), key=lambda call: call.start_order)
    said = [answer for call in models if (answer := chat.said(call.response)) is not None]
    number = _first_wrong(said, right)
    if number is None:
        raise _Unexplained("what the model said is right as far as it goes")
    return right, Explained(
        case_id=case.id,
        call=f"model call {number + 1} of the turn ({models[number].target})",
        said=context.arena.redact(_words(said[number]))[:SHOWN],
        put=context.arena.redact(_due(right, number))[:SHOWN],
        replays=0,
    )


def _first_wrong(said: Sequence[chat.Said], right: RightAnswer) -> int | None:
    """The first answer that is not right in any grouping, order or spelling; None when all are: then whatever failed is not
    the model."""
    due = list(right.calls)
    for number, answer in enumerate(said):
        for ask in answer.asks:
            call = next((one for one in due if _is_call(ask, one)), None)
            if call is None:
                return number
            due.remove(call)
        if not answer.asks and (due or not _are_words(answer.text, right)):
            return number
    return None


def _is_call(ask: chat.Ask, call: RightCall) -> bool:
    return chat.stands_for(ask.name, call.tool) and same(ask.arguments, call.arguments)


def _are_words(text: str, right: RightAnswer) -> bool:
    return right.text is None or text.strip().casefold() == right.text.strip().casefold()


def _words(said: chat.Said) -> str:
    calls = [f"{ask.name}({stable_text(ask.arguments)})" for ask in said.asks]
    return ", ".join(calls) or said.text


def _due(right: RightAnswer, number: int) -> str:
    """From this answer of the turn on."""
    calls = [f"{call.tool}({stable_text(call.arguments)})" for call in right.calls[number:]]
    return " → ".join([*calls, right.text if right.text is not None else "what the tools said"])


def _by_replays(
    context: RunContext, known: Mapping[str, tuple[VisibleCase, RightAnswer]]
) -> tuple[dict[str, int], dict[str, str]]:
    """Valid replays by case, and the first reason why one explains nothing."""
    cases = [case for case, _ in known.values()]
    planned = repeats(cases, context.batch.baseline_digest, times=TIMES, seed=context.seed)
    jobs = [replace(job, right=known[job.case.id][1]) for job in planned]
    valid, broken = dict.fromkeys(known, 0), dict[str, str]()

    def look(job: Job, replay: Replay) -> str:
        return _wrong(context, job.case, known[job.case.id][1], replay)

    played = cast(Iterator[Played[str]], context.arena.play(jobs, look))
    with closing(played) as replays:  # type: ignore[type-var]
        for one in replays:
            context.spend_trials(1)
            name = one.job.case.id
            if one.value:
                return valid, {name: f"with the right answer in place, {one.value}"}
            if one.value is None:
                broken[name] = one.broken
            else:
                valid[name] += 1
    few = {name: f"the arena broke: {broken[name]}" for name, count in valid.items() if count < FEWEST}
    return valid, few


def _wrong(context: RunContext, case: CaseContent, right: RightAnswer, replay: Replay) -> str:
    """What this replay leaves unexplained, or nothing. Raises GraderBroken."""
    own = [c for c in replay.calls if replay.own_from is not None and c.start_order > replay.own_from]
    if why := wrong_input(case, own, right, context.graders.fits):
        return why
    if (asked := sum(call.kind == "model" for call in own)) != right.steps:
        return f"the model was asked {asked} times, and {right.steps} answers are due"
    guessed = [miss for miss in replay.misses if miss.startswith("tool ") and not miss.endswith(": live")]
    silent = [call.target for call in own if isinstance(call.response, dict) and "error" in call.response]
    if unknown := (*guessed, *silent):
        return f"what a tool answers is not known: {unknown[0]}"
    grades = context.graders.grade(case, replay)
    failed = next((grade for grade in grades if not grade.passed), None)
    if failed is not None or not grades or replay.turn.status is None:
        return f"it fails still: {failed.reason if failed else replay.turn.error or 'no grader judged it'}"
    return ""
