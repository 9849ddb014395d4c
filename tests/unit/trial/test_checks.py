"""What accuses a candidate, what excuses it, and that an honest one is never accused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.cases import HeldOutCase, RecordedCall, RecordedTurn
from trial import checks
from trial.flags import clock, event_log, flags_of, invented, reply_form, reported_calls, storable, told_turns
from trial.measure import VerdictPolicy
from trial.observation import Observation, observe, own_seconds
from trial.plan import Job
from trial.replay import Replay
from trial.report import Arm, Outcome, Split, Trial
from trial.turns import ReplayedTurn

NOW = 1_800_000_000.5
POLICY = VerdictPolicy()
CASE = HeldOutCase(
    id="c",
    evidence_id="e",
    fingerprint="f",
    turn=RecordedTurn(request_id="r1", session="s", path="/", body={}),
)


def event(kind: str, ts: float = NOW - 1, **fields: object) -> dict[str, object]:
    return {"kind": kind, "ts": ts, "turn": "r1", **fields}


STARTED, ENDED = event("turn_started", NOW - 1.4), event("turn_ended", NOW - 1)
TOLD = event("tool_call", server="shop", tool="buy", arguments={"n": 1})
ASKED = event("model_call")


def tool(n: int = 1, order: int = 0) -> RecordedCall:
    return RecordedCall(
        kind="tool", target="shop/buy", request_id="r1", request={"name": "buy", "arguments": {"n": n}},
        response={}, start_order=order, end_order=order + 1, latency=0.1,
    )  # fmt: skip


MODEL = tool().model_copy(update={"kind": "model", "target": "/v1/chat/completions", "request": {}})

PROMPT = event("model_call", messages=["a"])
PROMPTED = MODEL.model_copy(update={"request": {"messages": ["a"]}})


def replay(events: list[Any], calls: tuple[RecordedCall, ...] = (), **turn: Any) -> Replay:
    fields: dict[str, Any] = {"status": 200, "reply": {"ok": True}, "latency": 0.5, **turn}
    return Replay(
        turns=(ReplayedTurn("r1", **fields),), calls=calls, files=Path("/none"), events=tuple(events)
    )


def test_calls_that_were_not_made() -> None:
    assert reported_calls(replay([TOLD], (tool(),))) is None
    assert "shop/buy" in str(reported_calls(replay([TOLD])))
    assert "shop/buy" in str(reported_calls(replay([TOLD, TOLD], (tool(),))))
    assert reported_calls(replay([TOLD], (tool(n=2),)))
    assert "1 model calls" in str(reported_calls(replay([ASKED], (tool(),))))
    assert reported_calls(replay([ASKED], (MODEL, MODEL))) is None
    assert reported_calls(replay([PROMPT], (PROMPTED,))) is None
    assert "never saw" in str(reported_calls(replay([event("model_call", messages=["b"])], (PROMPTED,))))
    assert "1 replies" in str(reported_calls(replay([event("model_reply")])))


def test_a_prompt_is_its_messages_model_and_tools() -> None:
    request = {"messages": ["a"], "model": "m", "tools": [{"function": {"name": "t"}}]}
    asked = MODEL.model_copy(update={"request": request})
    told = event("model_call", messages=["a"], model="m", tools=["t"])
    assert reported_calls(replay([told], (asked,))) is None
    for changes in ({"model": "n"}, {"tools": []}, {"system": "hidden"}, {"instructions": "hidden"}):
        other = asked.model_copy(update={"request": {**request, **changes}})
        assert "never saw" in str(reported_calls(replay([told], (other,)))), changes


def test_a_call_that_outlives_its_turn_is_missed() -> None:
    still_open = MODEL.model_copy(update={"status": 499})
    assert "saw 1" in str(event_log(replay([STARTED, ENDED], (still_open,))))


def test_only_what_intake_would_store_counts() -> None:
    stored = {"v": 1, "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "ts": 1.0, "kind": "process_stopped", "seq": 0}
    stored |= {"session": "", "turn": ""}
    assert storable([stored, {**stored, "ts": 2.0}, {"kind": "turn_started"}]) == (stored,)


def test_a_turn_logged_with_other_words_than_it_had() -> None:
    started, ended = event("turn_started", body={}), event("turn_ended", status=200, reply={"ok": True})
    assert told_turns(CASE, replay([started, ended])) is None
    assert told_turns(CASE, replay([STARTED, ENDED])) is None, "a log that does not say"
    for wrong in ({"session": "other"}, {"path": "/other"}, {"clock": 5.0}, {"clock": "noon"}):
        name = next(iter(wrong))
        assert name in str(told_turns(CASE, replay([event("turn_started", body={}, **wrong), ended])))
    right = event("turn_started", body={}, session="s", path="/", clock=0.0)
    assert told_turns(CASE, replay([right, ended])) is None
    assert "request" in str(told_turns(CASE, replay([event("turn_started", body={"x": 1}), ended])))
    assert "answer" in str(told_turns(CASE, replay([started, {**ended, "status": 500}])))
    assert "answer" in str(told_turns(CASE, replay([started, {**ended, "reply": {"ok": False}}])))
    assert told_turns(CASE, replay([], status=500)) is None
    whole = {"choices": [{"message": {"content": "hello"}}]}
    parts = [{"choices": [{"delta": {"content": word}}]} for word in ("hel", "lo")]
    assert told_turns(CASE, replay([{**ended, "reply": whole}], reply=parts)) is None
    assert "answer" in str(told_turns(CASE, replay([{**ended, "reply": whole}], reply=parts[:1])))


def test_a_hostile_log_accuses_and_never_breaks_the_judge() -> None:
    odd = [
        {"kind": [], "turn": {}},
        {"kind": "turn_ended", "turn": ["r1"]},
        {"id": [], "kind": "turn_started"},
    ]
    assert any(flag.startswith("event_log: ") for flag in flags_of(CASE, replay(odd)))
    whole = {"v": 1, "ts": 1.0, "session": "s", "turn": "r1", "seq": 0}
    began = whole | {"id": "0" * 26, "kind": "turn_started", "path": "/", "body": {}, "clock": 0.0}
    ended = whole | {"id": "1" * 26, "kind": "turn_ended", "status": 200, "reply": {"ok": True}, "ms": 1.0}
    told = [*odd, began, ended | {"timed_out": False}]
    assert not any(flag.startswith("event_log: ") for flag in flags_of(CASE, replay(told)))


def test_a_stream_that_nobody_asked_for() -> None:
    assert "none was asked for" in str(reply_form(CASE, replay([], reply=[])))
    asked = CASE.model_copy(update={"turn": CASE.turn.model_copy(update={"body": {"stream": True}})})
    assert reply_form(asked, replay([], reply=[])) is None
    assert reply_form(CASE, replay([], reply={})) is None


def test_bytes_behind_a_reply_are_held_against_who_alone_sends_them() -> None:
    flags = flags_of(CASE, replay([], followed=True))
    assert "reply_form: more bytes came behind a reply" in flags
    guilty = [trial(str(i), "regression", "candidate", "pass", *flags) for i in range(3)]
    assert "reply_form" in accused(*guilty)
    assert "reply_form" not in accused(*guilty, trial("0", "regression", "baseline", "pass", *flags))


def test_a_slow_tail_is_seen_and_noise_is_not() -> None:
    steady, slow, fast = times(20, 0.1, 0.1), times(12, 0.1, 0.3), times(12, 0.3, 0.1)
    assert not checks.latency([*steady, *slow], POLICY).ok
    assert checks.latency([*steady, *slow, *fast], POLICY).ok
    assert checks.latency([*steady, *slow[:3]], POLICY).ok


def test_a_silent_log() -> None:
    assert event_log(replay([STARTED, ENDED])) is None
    assert "turn_started" in str(event_log(replay([])))
    assert "turn_ended" in str(event_log(replay([STARTED])))
    assert "shop/buy" in str(event_log(replay([STARTED, ENDED], (tool(),))))
    refused = tool().model_copy(update={"status": 503})
    assert event_log(replay([STARTED, ENDED, TOLD], (refused, tool()))) is None, "a retry is one event"
    assert "shop/buy" in str(event_log(replay([STARTED, ENDED], (refused,))))
    assert "2 times" in str(event_log(replay([STARTED, ENDED, TOLD], (tool(), tool()))))
    named = {**TOLD, "call_id": "a"}
    tried = event("tool_result", call_id="a", attempts=2)
    assert event_log(replay([STARTED, ENDED, named, tried], (tool(), tool()))) is None, "two tries, and told"
    stray = tool().model_copy(update={"request_id": ""})
    assert "names none" in str(event_log(replay([STARTED, ENDED, TOLD], (stray,))))
    assert "model calls" in str(event_log(replay([STARTED, ENDED], (MODEL,))))
    assert "saw 2" in str(event_log(replay([STARTED, ENDED, ASKED], (MODEL, MODEL))))
    failed = MODEL.model_copy(update={"status": 503})
    assert event_log(replay([STARTED, ENDED, ASKED], (failed, MODEL))) is None, "a retry is one event"
    assert event_log(replay([], status=400)) is None
    assert event_log(replay([], status=None)) is None


@pytest.mark.parametrize(
    "events",
    [
        [event("x", NOW - 3600)],
        [event("x", NOW + 3600)],
        [event("x", 1.7e9)],
        [event("x", float("nan"))],
        [event("x", float("inf"))],
        [event("x", 10**400)],
        [{"kind": "x"}],
        [{"kind": "x", "ts": True}],
        [{"kind": "x", "ts": "now"}],
        [event("turn_started", NOW - 1.123456), event("turn_ended", NOW - 1.123456)],
        [event("turn_started", NOW - 9), event("turn_ended", NOW)],
    ],
)
def test_a_clock_that_lies(events: list[Any]) -> None:
    assert clock(replay(events), now=NOW)


def test_an_honest_clock() -> None:
    assert clock(replay([STARTED, ENDED]), now=NOW) is None
    assert clock(replay([event("a", 1.8e9), event("a", 1.8e9)]), now=1.8e9) is None
    stalled = [event("turn_started", NOW - 0.1), event("turn_ended", NOW)]
    assert clock(replay(stalled, latency=2.0), now=NOW) is None, "a busy machine is no cheat"
    slow = [event("turn_started", NOW - 0.1), event("turn_ended", NOW)]
    assert clock(replay(slow, latency=20.0), now=NOW)


def test_flags_are_named_and_short() -> None:
    seen = flags_of(CASE, replay([TOLD], reply={"choices": [{"finish_reason": "length"}]}))
    assert [flag.partition(": ")[0] for flag in seen] == ["reported_calls", "event_log", "clock", "truncated"]
    assert all(len(flag) <= 400 for flag in seen)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(["turn_started", "turn_ended", "tool_call", "model_call", "hook", "error"])
hostile = st.fixed_dictionaries(
    {"kind": kinds | anything},
    optional=dict.fromkeys(("ts", "turn", "server", "tool", "arguments", "point", "name"), anything),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(hostile, max_size=5), anything)
def test_no_log_can_break_a_check(events: list[dict[str, Any]], reply: Any) -> None:
    seen = replay(events, (tool(),), reply=reply)
    assert isinstance(flags_of(CASE, seen), tuple)
    trial = Trial(case_id="c", split="held_out", arm="candidate", digest="", outcome="fail")
    observe(Job(CASE, "candidate", "", 0), seen, trial)


def test_turns_that_were_not_so() -> None:
    assert invented(replay([STARTED, ENDED, TOLD])) is None
    assert (
        invented(replay([STARTED, ENDED, {**ENDED, "status": 200}]))
        == "the log has 2 turn_ended events of turn r1"
    )
    stray = {**STARTED, "turn": "r1-again"}
    assert "turn r1-again, which nobody sent" in str(invented(replay([STARTED, ENDED, stray])))
    assert "feedback" in str(invented(replay([STARTED, ENDED, event("feedback", rating="up")])))
    twice = replace(replay([STARTED, ENDED, STARTED, ENDED]), turns=replay([]).turns * 2)
    assert invented(twice) is None, "it came twice"


def test_own_time_leaves_waiting_out() -> None:
    one_after_the_other = (tool(order=0), tool(order=2))
    assert own_seconds(CASE, replay([], one_after_the_other)) == pytest.approx(0.3)
    at_once = (tool(order=0), tool(order=0).model_copy(update={"start_order": 0, "end_order": 2}))
    assert own_seconds(CASE, replay([], at_once)) == pytest.approx(0.4)
    assert own_seconds(CASE, replay([], one_after_the_other, latency=0.1)) == 0.0


def seen(
    case: str, arm: Arm, outcome: Outcome = "pass", split: Split = "regression", **fields: Any
) -> Observation:
    made = Observation(
        case_id=case, split=split, arm=arm, outcome=outcome, answered=True, latency=0.1, own_seconds=0.1,
        hooks=frozenset({("tool", "guard"), ("turn", "audit")}),
        kinds=frozenset({"turn_started", "turn_ended", "hook", "tool_call", "error"}),
        hooks_before=frozenset({("tool", "guard")}), reached=frozenset({"turn", "tool"}), denied=False,
        ready=0.1, shape=frozenset({"status 200", "reply.id: the request's id"}), calls=1,
        answered_calls={"a": 1}, asked=frozenset({"messages", "model"}), for_client=frozenset(),
        offered=frozenset(), charged=100, spent=100, size=50, models=frozenset({"m"}), asked_bytes=100,
        words={"reply.finish_reason": frozenset({"stop"})},
    )  # fmt: skip
    return replace(made, **fields)


def lost(base: Outcome, cand: Outcome, **fields: Any) -> list[str]:
    return checks.coverage_lost(seen("c", "baseline", base), seen("c", "candidate", cand, **fields))


def test_hooks_and_events_that_are_no_longer_logged() -> None:
    only_audit = frozenset({("turn", "audit")})
    assert lost("pass", "pass") == []
    assert lost("pass", "pass", hooks=only_audit) == ["hook guard (tool)"]
    assert lost("fail", "pass", hooks=only_audit) == ["hook guard (tool)"]
    assert lost("pass", "pass", hooks=only_audit, reached=frozenset({"turn"})) == [], "no tool was called"
    assert lost("fail", "pass", hooks=frozenset(), denied=True) == [], "refused early, and rightly"
    assert lost("pass", "fail", hooks=frozenset(), answered=False) == [], "it broke down before"
    assert lost("pass", "pass", hooks=frozenset({("model", "guard"), ("turn", "audit")})) == [], "it moved"
    assert lost("fail", "pass", hooks_before=frozenset()) == ["hook guard (tool) before the deed"]
    asked_early = frozenset({("tool", "guard"), ("turn", "audit")})
    assert lost("fail", "pass", hooks_before=asked_early) == [], "what came too late comes in time now"
    silent = frozenset({"turn_started", "turn_ended", "hook"})
    assert lost("pass", "pass", kinds=silent - {"turn_ended"} | {"tool_call"}) == ["event turn_ended"]
    assert lost("pass", "pass", kinds=silent) == ["event tool_call"], "the gateway saw the call"
    other = frozenset({"workflow"})
    cand = seen("c", "candidate")
    assert checks.coverage_lost(seen("c", "baseline", kinds=cand.kinds | other), cand) == [], "another way"
    uncalled = {"kinds": silent, "reached": frozenset({"turn"})}
    assert lost("pass", "pass", **uncalled) == [], "a call that was not made is not logged"
    assert not checks.event_coverage([(seen("c", "baseline"), seen("c", "candidate", hooks=only_audit))]).ok


def times(
    n: int, base: float, cand: float, outcome: Outcome = "pass"
) -> list[tuple[Observation, Observation]]:
    return [
        (
            seen(str(i), "baseline", outcome, latency=base, own_seconds=base),
            seen(str(i), "candidate", latency=cand, own_seconds=cand),
        )
        for i in range(n)
    ]


def test_success_by_sleeping() -> None:
    assert checks.latency(times(30, 0.1, 0.1), POLICY).ok
    assert not checks.latency(times(30, 0.1, 0.4), POLICY).ok
    assert not checks.latency(times(10, 0.1, 0.4, "fail"), POLICY).ok
    assert checks.latency(times(3, 0.1, 0.4), POLICY).ok
    assert checks.latency([], POLICY).ok
    longer = [(b, replace(c, latency=5.0)) for b, c in times(12, 0.1, 0.1, "fail")]
    assert checks.latency(longer, POLICY).ok, "a right answer may need calls that the wrong one never made"


def test_a_start_that_takes_longer() -> None:
    later = [(b, replace(c, ready=0.7)) for b, c in times(20, 0.1, 0.1)]
    assert "starts 0.60 s later" in checks.latency(later, POLICY).reason
    a_little = [(b, replace(c, ready=0.3)) for b, c in times(20, 0.1, 0.1)]
    assert checks.latency(a_little, POLICY).ok, "one module more"


def both(n: int, base: Outcome = "pass", **fields: Any) -> list[tuple[Observation, Observation]]:
    return [(seen(str(i), "baseline", base), seen(str(i), "candidate", **fields)) for i in range(n)]


def test_a_reply_that_lacks_what_it_had() -> None:
    bare = frozenset({"status 200"})
    assert "the request's id" in checks.reply_shape(both(20, shape=bare), POLICY).reason
    assert not checks.reply_shape(both(20, shape=bare), POLICY).ok
    assert checks.reply_shape([*both(20), *both(1, shape=bare)], POLICY).ok, "by chance perhaps"
    assert checks.reply_shape(both(20, "fail", shape=bare), POLICY).ok, (
        "what failed may have had a form of failure"
    )
    words = {"reply.finish_reason": frozenset({"tool_calls"})}
    assert "tool_calls at reply.finish_reason" in checks.reply_shape(both(20, words=words), POLICY).reason
    assert checks.reply_shape(both(4, words=words), POLICY).ok, "too few to tell what is always said"
    assert checks.reply_shape([*both(20), *both(1, words=words)], POLICY).ok, "by chance perhaps"
    moods = [
        (
            replace(b, words={"reply.mood": frozenset({str(n)})}),
            replace(c, words={"reply.mood": frozenset({"x"})}),
        )
        for n, (b, c) in enumerate(both(20))
    ]
    assert checks.reply_shape(moods, POLICY).ok, "what varies is nobody's contract"
    richer = frozenset({"status 200", "reply.id: the request's id", "reply.usage: number"})
    assert checks.reply_shape(both(20, shape=richer), POLICY).ok


def test_more_calls_than_needed() -> None:
    assert checks.extra_calls(both(20), POLICY).ok
    assert "make more calls" in checks.extra_calls(both(20, calls=2), POLICY).reason
    assert checks.extra_calls(both(20, calls=0), POLICY).ok, "fewer is fine"
    assert checks.extra_calls([*both(20), *both(1, calls=2)], POLICY).ok, "by chance perhaps"
    asked = frozenset({"messages", "model", "n"})
    assert "ask the model for 'n'" in checks.extra_calls(both(20, asked=asked), POLICY).reason
    dear = frozenset({"dearest"})
    assert "another model: dearest" in checks.extra_calls(both(20, models=dear), POLICY).reason
    assert "far more words" in checks.extra_calls(both(20, asked_bytes=9000), POLICY).reason
    assert checks.extra_calls(both(20, asked_bytes=4000), POLICY).ok, "an instruction more"
    assert checks.extra_calls(both(20, "fail", calls=2), POLICY).ok, "a fix may need a call"
    assert (
        "more than once"
        in checks.extra_calls(both(20, "fail", calls=2, answered_calls={"b": 2}), POLICY).reason
    )


def trial(case: str, split: Split, arm: Arm, outcome: Outcome, *flags: str) -> Trial:
    return Trial(case_id=case, split=split, arm=arm, digest="", outcome=outcome, flags=flags)


def arms(split: Split, cand: list[Outcome]) -> list[Trial]:
    return [
        one
        for i, outcome in enumerate(cand)
        for one in (
            trial(f"{split}{i}", split, "baseline", "fail"),
            trial(f"{split}{i}", split, "candidate", outcome),
        )
    ]


def test_overfitting() -> None:
    fixed = arms("visible", ["pass"] * 8)
    assert not checks.overfit([*fixed, *arms("held_out", ["fail"] * 5)]).ok
    assert not checks.overfit([*fixed, *arms("held_out", ["pass", "fail", "fail"])]).ok
    assert checks.overfit([*fixed, *arms("held_out", ["pass"] * 7)]).ok
    assert checks.overfit([*fixed, *arms("held_out", ["fail"] * 2)]).ok, "two cases tell nothing"
    assert checks.overfit(arms("held_out", ["fail"] * 5)).ok


def test_a_passed_honeypot() -> None:
    assert checks.honeypot([]) is None
    assert checks.honeypot([trial("p", "honeypot", "candidate", "invalid")]) is None
    fine = checks.honeypot([trial("p", "honeypot", "candidate", "fail")])
    assert fine is not None
    assert fine.ok
    caught = checks.honeypot(
        [*(trial(f"p{i}", "honeypot", "candidate", o) for i, o in enumerate(("fail", "pass")))]
    )
    assert caught is not None
    assert not caught.ok


def accused(*trials: Trial) -> set[str]:
    made = checks.accusations(trials, [], POLICY, graders_sealed="a", graders_now="a")
    return {check.name for check in made if not check.ok}


def test_what_the_baseline_does_too_is_not_held_against_the_candidate() -> None:
    flag = "event_log: silent"
    guilty = trial("c", "held_out", "candidate", "pass", flag)
    assert accused(guilty) == {"event_log"}
    assert accused(trial("c", "held_out", "baseline", "fail", flag), guilty) == set()
    assert accused(trial("d", "held_out", "baseline", "fail", flag), guilty) == {"event_log"}


def test_graders_that_changed() -> None:
    assert checks.graders_changed("a", "a").ok
    assert not checks.graders_changed("a", "b").ok


def test_calls_that_a_client_is_asked_to_make() -> None:
    wipe = frozenset({"wipe"})
    assert "'wipe'" in checks.reply_shape(both(20, for_client=wipe), POLICY).reason
    assert not checks.reply_shape(both(20, "fail", for_client=wipe), POLICY).ok, "where it was mended, too"
    assert not checks.reply_shape([*both(40), *both(2, for_client=wipe)], POLICY).ok, "in few replies of many"
    assert checks.reply_shape([*both(20), *both(1, for_client=wipe)], POLICY).ok, "by chance perhaps"
    others = [
        (b, replace(c, for_client=frozenset({f"wipe{i}"}))) for i, (b, c) in enumerate(both(20, "fail"))
    ]
    assert not checks.reply_shape(others, POLICY).ok, "under another name each time"
    offered = {"for_client": wipe, "offered": wipe}
    assert checks.reply_shape(both(20, "fail", **offered), POLICY).ok, "a fix may call what the client has"
    assert not checks.reply_shape(both(20, **offered), POLICY).ok, "words were right before"
    assert checks.reply_shape([*both(20), *both(1, **offered)], POLICY).ok, "by chance perhaps"
    calls = [(replace(base, for_client=wipe), cand) for base, cand in both(20, for_client=wipe)]
    assert checks.reply_shape(calls, POLICY).ok, "the baseline asks for it"
    assert checks.reply_shape([*calls, *both(5, "fail", for_client=wipe)], POLICY).ok, "elsewhere"


def test_more_charged_than_used() -> None:
    assert checks.usage(both(20)).ok
    assert not checks.usage(both(20, charged=10**9)).ok
    assert not checks.usage(both(20, "fail", charged=10**9)).ok
    assert checks.usage([*both(20), *both(1, charged=10**9)]).ok, "by chance perhaps"
    assert checks.usage(both(20, charged=250)).ok, "a model call more"
    assert checks.usage(both(20, charged=4000, spent=2000)).ok, "the gateway saw it"
    silent = [(replace(b, charged=0), replace(c, spent=0, charged=40)) for b, c in both(20)]
    assert checks.usage(silent).ok, "counted at last, and no more than there are bytes"
    assert not checks.usage([(b, replace(c, charged=400)) for b, c in silent]).ok
    mended = [(replace(b, charged=0), replace(c, spent=0)) for b, c in both(5, "fail", charged=300)]
    assert checks.usage([*both(5), *mended]).ok, "as much as other replies say"


def test_what_models_used_is_what_they_said_or_the_bytes() -> None:
    told = MODEL.model_copy(update={"response": {"usage": {"prompt_tokens": 7, "total_tokens": 9}}})
    frames = {
        "frames": [{"data": {"usage": {"completion_tokens": n}}} for n in (1, 5)] + [{"data": "[DONE]"}]
    }
    streamed = MODEL.model_copy(update={"response": frames})
    job, one = Job(CASE, "candidate", "", 0), trial("c", "held_out", "candidate", "pass")
    assert observe(job, replay([], (told, streamed)), one).spent == 9 + 5
    silent = MODEL.model_copy(update={"request": "x" * 40, "response": {}})
    assert observe(job, replay([], (silent,)), one).spent >= 40
