"""What one replay says against its candidate, by itself.

The service writes its own event log, so a candidate can write lies. What it can't touch is what the gateway
saw, when we sent a request and when the answer came. These questions hold the one against the other; the
answers become flags of a trial, and `checks` weighs them against the baseline's.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evidence.cases import CaseContent, RecordedCall, RecordedTurn
from evidence.schemas import event_problem
from trial.gateway.replay import UNANSWERED
from trial.graders.reading import answer_text, stable_text, truncated
from trial.replay import Replay
from trial.turns import ReplayedTurn

NAMES = ("reported_calls", "event_log", "clock", "truncated", "reply_form")
"""Checks that look at one replay alone; a flag reads `name: reason`."""
FOLLOWED = "more bytes came behind a reply"

BOOT_SLACK = 60.0
"""Seconds that starting the service and collecting its files may take beside the turns."""
TURN_SLACK = 0.5
STALL = 0.5
"""A busy machine may let a request wait before the service notes that it began."""
_NEVER_AT_ONCE = 0.05
_FAR_FUTURE = 1e12
_SAME_CLOCK = 1e-3
_MOST_ATTEMPTS = 100
_OF_A_TURN = ("turn_started", "turn_ended")


def flags_of(case: CaseContent, replay: Replay) -> tuple[str, ...]:
    """What one replay says against its candidate. Usable as the arena's flagger."""
    stored = replace(replay, events=storable(replay.events))
    found = {
        "reported_calls": reported_calls(replay),
        "event_log": event_log(stored) or told_turns(case, stored) or invented(stored),
        "clock": clock(replay, now=time.time()),
        "truncated": truncated(replay.turn) if replay.turn.status is not None else None,
        "reply_form": reply_form(case, replay),
    }
    return tuple(f"{name}: {reason}"[:400] for name, reason in found.items() if reason)


def reported_calls(replay: Replay) -> str | None:
    """Which reported tool or model call the gateway never saw."""
    reported = Counter(_told_calls(replay.events))
    surplus = reported - Counter(_seen_calls(replay.calls))
    if surplus:
        target, arguments = next(iter(surplus))
        return f"the log reports the tool call {target}({arguments[:120]}), which the gateway never saw"
    told = Counter(_told_prompts(replay.events))
    seen = Counter(_seen_prompts(replay.calls))
    if told.total() > seen.total():
        return f"the log reports {told.total()} model calls, the gateway saw {seen.total()}"
    invented = sorted(prompt for prompt in told.keys() - seen.keys() if prompt is not None)
    if invented:
        return f"the log reports a model call that the gateway never saw: {invented[0][:120]}"
    replies = sum(event.get("kind") == "model_reply" for event in replay.events)
    return (
        f"the log reports {replies} replies to {told.total()} model calls" if replies > told.total() else None
    )


def event_log(replay: Replay) -> str | None:
    """Which turn or call the log is silent about."""
    kinds: dict[object, set[object]] = {}
    for event in replay.events:
        if isinstance(turn := event.get("turn"), str) and isinstance(kind := event.get("kind"), str):
            kinds.setdefault(turn, set()).add(kind)
    for turn in replay.turns:
        if turn.status is None or not 200 <= turn.status < 300:
            continue
        for kind in ("turn_started", "turn_ended"):
            if kind not in kinds.get(turn.request_id, ()):
                return f"turn {turn.request_id} was answered and has no {kind} event"
    told = Counter(_told_attempts(replay.events))
    answered = Counter(_seen_calls(call for call in replay.calls if call.status in (200, UNANSWERED)))
    for (target, arguments), times in (*answered.items(), *((one, 1) for one in _seen_calls(replay.calls))):
        if told[target, arguments] < times:
            report = f"{target}({arguments[:120]}), the log reports it {told[target, arguments]} times"
            return f"the gateway saw {times} times the tool call {report}"
    ids = {turn.request_id for turn in replay.turns}
    stray = next(
        (call for call in replay.calls if call.request_id not in ids and "#" not in call.target), None
    )
    if stray is not None:
        return f"the gateway saw a call of {stray.target} that names none of the turns"
    prompts = Counter(_told_prompts(replay.events))
    made = Counter(_seen_prompts(call for call in replay.calls if call.status in (200, UNANSWERED)))
    if made.total() > prompts.total():
        return f"the gateway saw {made.total()} model calls, the log reports {prompts.total()}"
    return None


def storable(events: Iterable[dict[str, object]]) -> tuple[dict[str, object], ...]:
    """What intake would store of a log: events of the published schema, each id once. No other line tells anybody."""
    kept: dict[object, dict[str, object]] = {}
    for event in events:
        if not event_problem(event):
            kept.setdefault(event["id"], event)
    return tuple(kept.values())


def told_turns(case: CaseContent, replay: Replay) -> str | None:
    """Which turn was logged with another request or answer than it had. Wants events that are `storable`."""
    told: dict[object, dict[str, object]] = {}
    for event in replay.events:
        told.setdefault((event.get("kind"), event.get("turn")), event)
    for sent, got in zip((*case.prelude, case.turn), replay.turns, strict=False):
        if got.status is None or not 200 <= got.status < 300:
            continue
        started = told.get(("turn_started", sent.request_id), {})
        ended = told.get(("turn_ended", sent.request_id), {})
        if _text(started.get("body", sent.body)) != _text(sent.body):
            return f"turn {sent.request_id} is logged with another request than it got"
        if other := _told_otherwise(started, sent):
            return f"turn {sent.request_id} is logged with another {other} than it had"
        if ended.get("status", got.status) != got.status or not _is_same_answer(ended, got):
            return f"turn {sent.request_id} is logged with another answer than it gave"
    return None


def invented(replay: Replay) -> str | None:
    """What the log tells of turns that was not so: one that nobody sent, one that begins or ends twice, a user's word that
    nobody gave. Wants events that are `storable`."""
    sent = Counter(turn.request_id for turn in replay.turns)
    told = Counter((str(e["kind"]), str(e.get("turn"))) for e in replay.events if e["kind"] in _OF_A_TURN)
    for (kind, turn), times in told.items():
        if turn not in sent:
            return f"the log has a {kind} event of turn {turn[:80]}, which nobody sent"
        if times > sent[turn]:
            return f"the log has {times} {kind} events of turn {turn}"
    if any(event["kind"] == "feedback" for event in replay.events):
        return "the log has feedback, which nobody gave"
    return None


def _told_otherwise(started: Mapping[str, object], sent: RecordedTurn) -> str | None:
    """What of a turn's beginning, beside its request, the log says wrongly."""
    if sent.session and started.get("session", sent.session) != sent.session:
        return "session"
    if started.get("path", sent.path) != sent.path:
        return "path"
    told = started.get("clock", sent.started)
    near = isinstance(told, int | float) and abs(told - sent.started) < _SAME_CLOCK
    return None if near else "clock"


def _is_same_answer(ended: Mapping[str, object], got: ReplayedTurn) -> bool:
    """A stream is logged as the answer that its parts make up."""
    if "reply" not in ended:
        return True
    if not isinstance(got.reply, list):
        return _text(ended["reply"]) == _text(got.reply)
    try:
        return answer_text(replace(got, reply=ended["reply"])) == answer_text(got)
    except RecursionError:
        return False


def reply_form(case: CaseContent, replay: Replay) -> str | None:
    """Is the answer of a form that nobody asked for? Graders read words alone; clients don't."""
    if any(turn.followed for turn in replay.turns):
        return FOLLOWED
    streamed, asked = isinstance(replay.turn.reply, list), bool(case.turn.body.get("stream"))
    if streamed and not asked:
        return "the answer is a stream and none was asked for"
    answered = replay.turn.status is not None and 200 <= replay.turn.status < 300
    return "a stream was asked for and the answer is none" if asked and answered and not streamed else None


def clock(replay: Replay, *, now: float) -> str | None:
    """Which event claims a time at which it can't have happened. `now`: the wall clock after the replay."""
    begin = now - sum(turn.latency for turn in replay.turns) - BOOT_SLACK
    ends: dict[str, list[float]] = {}
    for event in replay.events:
        ts = event.get("ts")
        if isinstance(ts, bool) or not isinstance(ts, int | float) or abs(ts) > _FAR_FUTURE:
            return f"an event {event.get('kind')!r} has no time"
        if not begin <= ts <= now + TURN_SLACK:
            where = f"{float(ts) - now:+.1f} s from the end of the replay"
            return f"the event {event.get('kind')!r} says it happened {where}, which took less"
        if event.get("kind") in ("turn_started", "turn_ended") and isinstance(event.get("turn"), str):
            ends.setdefault(str(event["turn"]), []).append(float(ts))
    for turn in replay.turns:
        if len(times := ends.get(turn.request_id, [])) < 2:
            continue
        told = max(times) - min(times)
        whole = times[0] * 1000 % 1 == 0  # a log that counts in milliseconds may well show none
        frozen = told == 0 and not whole and turn.latency > _NEVER_AT_ONCE
        if frozen or told > turn.latency + TURN_SLACK or told < 0.1 * turn.latency - STALL:
            return f"turn {turn.request_id} took {told:.2f} s by the log, {turn.latency:.2f} s as we saw it"
    return None


def _told_calls(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for event in events:
        if event.get("kind") == "tool_call":
            yield f"{event.get('server')}/{event.get('tool')}", _text(event.get("arguments") or {})


def _told_attempts(events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Reported tool calls, each as often as its result says that it was tried."""
    tried = {
        (str(event.get("turn")), str(event.get("call_id"))): event.get("attempts")
        for event in events
        if event.get("kind") == "tool_result"
    }
    for event in events:
        attempts = tried.get((str(event.get("turn")), str(event.get("call_id"))))
        for told in _told_calls([event]):
            yield from [told] * (
                min(attempts, _MOST_ATTEMPTS) if isinstance(attempts, int) and attempts > 0 else 1
            )


def _seen_calls(calls: Iterable[RecordedCall]) -> Iterator[tuple[str, str]]:
    for call in calls:
        if call.kind == "tool" and "#" not in call.target:
            request = call.request if isinstance(call.request, dict) else {}
            yield call.target, stable_text(request.get("arguments") or {})


def _told_prompts(events: Iterable[Mapping[str, Any]]) -> Iterator[str | None]:
    """What each reported model call asked; None for one that does not say."""
    for event in events:
        if event.get("kind") == "model_call":
            messages = event.get("messages")
            tools = event.get("tools")
            names = sorted(map(str, tools)) if isinstance(tools, list) else []
            yield None if messages is None else _text([messages, event.get("model"), names])


def _seen_prompts(calls: Iterable[RecordedCall]) -> Iterator[str]:
    for call in calls:
        if call.kind == "model":
            request = call.request if isinstance(call.request, dict) else {}
            tools = request.get("tools")
            names = sorted(_tool_name(tool) for tool in tools) if isinstance(tools, list) else []
            beside = [request[name] for name in ("system", "instructions") if request.get(name)]
            yield _text([request.get("messages", request.get("input")), request.get("model"), names, *beside])


def _tool_name(tool: object) -> str:
    if not isinstance(tool, dict):
        return ""
    function = tool.get("function")
    return str((function if isinstance(function, dict) else tool).get("name", ""))


def _text(value: object) -> str:
    try:
        return stable_text(value)
    except RecursionError:
        return "arguments that are nested too deep"
