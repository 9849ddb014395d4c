"""Shipped workflows with model steps, and turns that are cut off in the middle of a workflow: what they do, and what they
say of it."""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from harness_gateway import real_gateway, upstream
from harness_gateway_double import Json, Script, gateway, says, slowly
from harness_service import ROOT, Service, service
from harness_turns import case_of, events, of_tree, replayed
from jsonschema import Draft202012Validator

from workflows.codec import digest, from_json

SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/schemas/event.schema.json").read_text()))
NOTES = Path(__file__).parent / "notes_mcp.py"
NUMBER = {"type": "object", "properties": {"hour": {"type": "integer"}}, "required": ["hour"]}


def ref(path: str) -> Json:
    return {"ref": path}


BRIEF: Json = {
    "v": 1,
    "name": "brief",
    "description": "What time it is elsewhere, said by a model, and its hour, counted by another.",
    "trigger": "^Brief me on (?P<time>[0-9:]+) in (?P<zone>[A-Za-z/]+)",
    "inputs": {"time": {"type": "string"}, "zone": {"type": "string"}},
    "nodes": [
        {
            "id": "convert",
            "kind": "tool",
            "tool": "time/convert_time",
            "arguments": {
                "source_timezone": {"value": "UTC"},
                "time": ref("inputs.time"),
                "target_timezone": ref("inputs.zone"),
            },
        },
        {
            "id": "say",
            "kind": "model",
            "prompt": "Say it nicely: {moment}",
            "values": {"moment": ref("convert.target.datetime")},
        },
        {
            "id": "tally",
            "kind": "model",
            "prompt": "The hour of {moment}?",
            "values": {"moment": ref("convert.target.datetime")},
            "answer": NUMBER,
            "model": "large",
            "max_tokens": 20,
            "policy": {"retries": 1},
        },
        {
            "id": "answer",
            "kind": "output",
            "text": "{said} ({hour})",
            "values": {"said": ref("say"), "hour": ref("tally.hour")},
        },
    ],
}
ASKED = "Brief me on 12:00 in Asia/Kathmandu"
PLAIN = {"limits": {"turn_seconds": 1.0}}


def model(body: Json) -> Any:
    last = body["messages"][-1]["content"]
    if last.startswith("The hour of"):
        return says(json.dumps({"hour": int(last.rpartition("T")[2][:2])}))
    return says(f"It will be {last[-25:]}." if last.startswith("Say it") else f"heard: {last}")


def test_model_steps_run_through_the_turns_model_and_are_replayed(tmp_path: Path) -> None:
    notes = [sys.executable, str(NOTES), str(tmp_path / "notes"), "0"]
    root = of_tree(tmp_path, {}, BRIEF)
    again = tmp_path / "again"
    again.mkdir()
    with (
        upstream(Script(model)) as base_url,
        real_gateway(tmp_path, base_url, notes=notes) as path,
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="git,notes,time") as agent,
    ):
        text = agent.says(ASKED, request_id="b", clock=time.time())
        reply = agent.turn(ASKED, request_id="b").json()
    assert text.startswith("It will be ")
    assert text.endswith("T17:45:00+05:45. (17)")
    assert reply["usage"] == {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
    [told] = events(agent, "b", "workflow")
    SCHEMA.validate(told)
    assert (told["answered"], told["tool_calls"], told["tokens"]) == (True, 1, 24)
    assert [step["state"] for step in told["steps"]] == ["done"] * 4
    assert [call["index"] for call in events(agent, "b", "model_call")] == [0, 1]
    case = case_of(tmp_path, "b", again)
    assert sorted(call.kind for call in case.cassette.calls) == ["model", "model", "tool"]
    candidate = replayed(case, again, root)
    assert [told["digest"]] == [fact["digest"] for fact in events(candidate, "b", "workflow")]


def shop(convert: Any, ask: Any = model) -> Script:
    names = ("source_timezone", "time", "target_timezone")
    schema = {"type": "object", "properties": {n: {"type": "string"} for n in names}, "required": list(names)}
    entry = {"inputSchema": schema, "annotations": {"readOnlyHint": True}}
    return Script(ask, {"convert_time": (entry, convert)})


def converted(_: Json) -> str:
    return json.dumps({"target": {"datetime": "2026-01-01T17:45:00+05:45"}})


def test_the_turns_limits_hold_for_model_steps_and_one_that_fails_leaves_it_to_the_conversation(
    tmp_path: Path,
) -> None:
    script, path = shop(converted), tmp_path / "g"
    answers: list[Any] = [says("soon"), says('{"hour": "late"}')]

    def errs(body: Json) -> Any:
        return answers.pop(0) if body["messages"][-1]["content"].startswith("The hour") else model(body)

    script.model = errs
    root = of_tree(
        tmp_path,
        {"limits": {"session_tokens": 60}, "session_settings": {"units": {"description": "u"}}},
        BRIEF,
    )
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="time") as agent,
    ):
        text = agent.says(ASKED, settings={"units": "metric"}, request_id="a")
        assert text == f"heard: {ASKED}"
        [told] = events(agent, "a", "workflow")
        failed = next(step for step in told["steps"] if step["id"] == "tally")
        assert (failed["state"], failed["attempts"]) == ("failed", 2)
        assert "'late' is not of type 'integer'" in failed["error"]
        assert [body["model"] for body in script.asked].count("large") == 2
        assert all("- units (u): metric" in json.dumps(body["messages"]) for body in script.asked)
        spent = len(script.asked)
        answers.append(says('{"hour": 17}'))
        agent.says(ASKED, request_id="b")
        assert agent.turn(ASKED, request_id="c").json()["error"]["code"] == "spend"
        denied = events(agent, "c", "workflow")[0]["steps"]
        assert "Refused by spend" in next(step for step in denied if step["id"] == "say")["error"]
        assert len(script.asked) == spent + 2


def test_a_point_asks_the_model_that_it_was_measured_with(tmp_path: Path) -> None:
    root, script, path = of_tree(tmp_path, {}, BRIEF), shop(converted), tmp_path / "g"
    table = json.loads(json.dumps(BRIEF).replace('"large"', '"huge"'))
    point = {
        "configuration": {"tally": "huge"},
        "accuracy": {"value": 0.9, "n": 20, "low": 0.5, "high": 1.0},
        "latency_ms": {"p50": 500, "p90": 900},
        "cost_micro_usd": 5,
        "tokens": 30,
        "tool_calls": 1,
        "workflow": table,
    }
    points = {"v": 1, "workflow": digest(from_json(BRIEF)), "points": [point]}
    (root / "workflows/library/first.points.json").write_text(json.dumps(points))
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="time") as agent,
    ):
        assert agent.says(ASKED, request_id="p").endswith("(17)")
        assert sorted(body["model"] for body in script.asked) == ["default", "huge"]
        assert sorted(call["model"] for call in events(agent, "p", "model_call")) == ["default", "huge"]


def late(tmp_path: Path, script: Script, policy: Json, text: str) -> tuple[Service, Json]:
    """The service after a turn that ran out of time, asked for twice."""
    root, path = of_tree(tmp_path, policy, BRIEF), tmp_path / "g"
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="time") as agent,
    ):
        first = agent.turn(
            text, request_id="late", settings={"planning": "on"} if "planning" in policy else {}
        )
        asked, called = len(script.asked), len(script.called)
        again = agent.turn(text, request_id="late")
        assert (first.status_code, again.json()) == (504, first.json())
        assert (len(script.asked), len(script.called)) == (asked, called)
    [told] = events(agent, "late", "workflow")
    SCHEMA.validate(told)
    [ended] = events(agent, "late", "turn_ended")
    assert ended["timed_out"]
    assert ended["seq"] == told["seq"] + 1
    assert (told["answered"], told["cut_off"]) == (False, True)
    return agent, told


@pytest.mark.parametrize("slow", ["tool", "model"])
def test_a_turn_that_is_cut_off_says_how_far_its_workflow_got(tmp_path: Path, slow: str) -> None:
    script = shop(converted)
    if slow == "tool":
        script = shop(slowly(2.0, converted({})))
    else:
        script.model = lambda body: (
            (time.sleep(2.0), model(body))[1] if body["model"] == "large" else model(body)
        )
    agent, told = late(tmp_path, script, PLAIN, ASKED)
    states = {step["id"]: step["state"] for step in told["steps"]}
    done = {"convert": "done", "say": "done", "tally": "cut_off"}
    assert states == ({"convert": "cut_off"} if slow == "tool" else done)
    assert (told["source"], told["ran"], told["tool_calls"]) == ("shipped", True, 1)
    assert len(events(agent, "late", "model_reply")) == (0 if slow == "tool" else 1)


def test_a_turn_that_is_cut_off_says_what_was_planned(tmp_path: Path) -> None:
    convert = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    steps = [{"id": "s1", "tool": "time/convert_time", "arguments": convert}]
    drafted = says(json.dumps({"steps": steps, "answer": "{s1.target.datetime}"}))
    script = shop(slowly(2.0, converted({})), lambda body: drafted)
    policy = PLAIN | {"planning": {"on": False}, "session_settings": {"planning": {"enum": ["on", "off"]}}}
    agent, told = late(tmp_path, script, policy, "Convert 12:00 from UTC to Asia/Tokyo.")
    assert (told["source"], told["ran"], told["tool_calls"]) == ("planned", True, 1)
    assert [(step["id"], step["state"]) for step in told["steps"]] == [("s1", "cut_off")]
    assert told["drafts"] == len(events(agent, "late", "model_reply"))


def test_a_client_that_leaves_cuts_nothing_off(tmp_path: Path) -> None:
    script, path = shop(slowly(0.5, converted({}))), tmp_path / "g"
    root = of_tree(tmp_path, {}, BRIEF)
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="time") as agent,
    ):
        with pytest.raises(httpx2.ReadTimeout):
            agent.http.post(
                "/v1/chat/completions",
                json={"messages": [{"role": "user", "content": ASKED}]},
                headers={"x-request-id": "left", "x-session": "s1"},
                timeout=0.2,
            )
        threads = [
            threading.Thread(target=agent.turn, args=(ASKED,), kwargs={"request_id": "left"})
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert agent.says(ASKED, request_id="left").endswith("(17)")
        for thread in threads:
            thread.join()
    assert len(script.called) == 1
    [told] = events(agent, "left", "workflow")
    assert (told["answered"], "cut_off" in told) == (True, False)


def test_a_client_that_resends_the_conversation_does_not_double_what_workflows_answered(
    tmp_path: Path,
) -> None:
    script, path = shop(converted), tmp_path / "g"
    root = of_tree(tmp_path, {}, BRIEF)
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="time") as agent,
    ):
        question = {"role": "user", "content": ASKED}
        answer = {"role": "assistant", "content": agent.says(ASKED)}
        agent.http.post(
            "/v1/chat/completions",
            json={"messages": [question, answer, question]},
            headers={"x-session": "s1"},
        ).raise_for_status()
        agent.says("hello")
    assert script.asked[-1]["messages"][1:-1] == [question, answer, question, answer]
