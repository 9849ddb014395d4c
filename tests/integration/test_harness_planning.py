"""Turns that plan: a planner that errs, talks or is cut short; real servers, and the same turn replayed."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness_gateway import real_gateway, upstream
from harness_gateway_double import Json, Script, gateway, says
from harness_service import Service, service
from harness_turns import case_of, events, of_tree, replayed

NOTES = Path(__file__).parent / "notes_mcp.py"
ASKED = "Convert 12:00 from UTC to Asia/Kathmandu and append the new datetime to the notes."
READ = "Convert 12:00 from UTC to Asia/Kathmandu."
SHIPPED = "10:30 in UTC is when in Asia/Tokyo and Asia/Kathmandu?"


def plan(seed: int) -> Json:
    """With a misnamed argument, or with a result that the next step does not take: never the same mistake twice running."""
    source, text = ("source_zone", "{a.target.datetime}") if seed % 2 == 0 else ("source_timezone", "{time}")
    convert = {source: "UTC", "time": "12:00", "target_timezone": "Asia/Kathmandu"}
    steps = [
        {"id": "a", "tool": "time/convert_time", "arguments": convert},
        {"id": "b", "tool": "notes/append", "arguments": {"text": text}},
    ]
    return {"steps": steps, "answer": "Noted {a.target.datetime}."}


def reading(city: str) -> Json:
    convert = {"source_timezone": "UTC", "time": "12:00", "target_timezone": f"Asia/{city}"}
    steps = [{"id": "a", "tool": "time/convert_time", "arguments": convert}]
    return {"steps": steps, "answer": "It is {a.target.datetime}."}


def model(body: Json) -> Any:
    """Held to a form it plans; else it repeats what it was told last."""
    asked = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
    if asked.startswith('{"earlier"'):
        return says(json.dumps({"request": json.loads(asked)["earlier"][-1].replace("Kathmandu", "Tokyo")}))
    if "response_format" not in body:
        return says(f"heard: {body['messages'][-1]['content']}")
    if READ in asked or READ.replace("Kathmandu", "Tokyo") in asked:
        return says(json.dumps(reading("Tokyo" if "Tokyo" in asked else "Kathmandu")))
    return says(json.dumps(plan(body["seed"])) if ASKED in asked else "Well, let me think about it.")


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("planning")
    notes = [sys.executable, str(NOTES), str(folder / "notes"), "0"]
    with (
        upstream(Script(model)) as base_url,
        real_gateway(folder, base_url, notes=notes) as path,
        service(folder, "harness", GATEWAY_SOCKET=str(path), TOOL_SERVERS="git,notes,time") as running,
    ):
        yield running


def test_a_plan_with_mistakes_is_mended_run_and_told(agent: Service) -> None:
    text = agent.says(ASKED, settings={"planning": "on"}, request_id="plan-1", session="p")
    assert text.startswith("Noted ")
    assert text.endswith("T17:45:00+05:45.")
    kept = (agent.state.parent / "notes").read_text()
    assert kept == text.removeprefix("Noted ").removesuffix(".") + "\n"
    told = events(agent, "plan-1", "workflow")
    assert [(fact["source"], fact["answered"]) for fact in told if fact["ran"]] == [("planned", True)]
    assert [step["state"] for step in told[-1]["steps"]] == ["done", "done", "done"]
    assert told[-1]["tool_calls"] == 2
    assert told[-1]["tokens"] == 12 * told[-1]["drafts"]
    calls = events(agent, "plan-1", "tool_call")
    assert [call["arguments"].get("text", "") for call in calls] == ["", kept.strip()]
    assert agent.says("/settings", session="p") == "Settings: planning=on"


def test_who_only_talks_is_asked_a_few_times_and_then_listened_to(agent: Service) -> None:
    text = agent.says("Good morning", settings={"planning": "on"}, request_id="prose", session="q")
    assert text == "heard: Good morning"
    assert [call["index"] for call in events(agent, "prose", "model_call")] == [0, 1, 2, 3]
    assert events(agent, "prose", "workflow") == []
    assert "planning" not in json.dumps(events(agent, "prose", "model_call"))


def test_a_shipped_workflow_comes_first_and_tells_of_itself(agent: Service) -> None:
    text = agent.says(SHIPPED, settings={"planning": "on"}, request_id="shipped")
    assert "19:30:00+09:00" in text
    assert events(agent, "shipped", "model_call") == []
    [told] = events(agent, "shipped", "workflow")
    assert (told["name"], told["source"], told["ran"], told["answered"]) == (
        "world_clock",
        "shipped",
        True,
        True,
    )


def test_without_the_setting_nothing_is_planned(agent: Service) -> None:
    assert agent.says(ASKED, request_id="off", session="o") == f"heard: {ASKED}"
    assert len(events(agent, "off", "model_call")) == 1


def test_a_message_that_leans_on_the_one_before_is_planned(agent: Service) -> None:
    """And not where nothing is planned."""
    assert agent.says(READ, settings={"planning": "on"}, session="lean").endswith("T17:45:00+05:45.")
    text = agent.says("And the same for Asia/Tokyo?", session="lean", request_id="leans")
    assert text.startswith("It is ")
    assert text.endswith("T21:00:00+09:00.")
    told = events(agent, "leans", "workflow")[-1]
    assert (told["answered"], told["request"]) == (True, READ.replace("Kathmandu", "Tokyo"))
    quoted, *drafts = events(agent, "leans", "model_call")
    assert json.loads(quoted["messages"][-1]["content"])["earlier"] == [READ]
    assert told["drafts"] == len(drafts)
    agent.says(READ, session="plain")
    assert agent.says("And the same for Asia/Tokyo?", session="plain").startswith("heard: And the same")


def test_a_planned_turn_is_replayed_from_its_recording(agent: Service, tmp_path: Path) -> None:
    asked = {"settings": {"planning": "on"}, "request_id": "again", "session": "r", "clock": time.time()}
    answer = agent.says(ASKED, **asked)
    case = case_of(agent.state.parent, "again", tmp_path)
    assert {call.kind for call in case.cassette.calls} == {"model", "tool"}
    assert answer in str(case.turn.reply)
    candidate = replayed(case, tmp_path)
    first, second = (events(one, "again", "workflow") for one in (agent, candidate))
    assert [fact["digest"] for fact in first] == [fact["digest"] for fact in second]


SEND = {"inputSchema": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}}
LOOK = {
    "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    "annotations": {"readOnlyHint": True},
}


def two_steps() -> Json:
    steps = [
        {"id": "s1", "tool": "shop/send", "arguments": {"to": "Ada"}},
        {"id": "s2", "tool": "shop/look", "arguments": {"name": "Ada"}, "after": ["s1"]},
    ]
    return {"steps": steps, "answer": "Sent to Ada: {s2}"}


def insists(body: Json) -> Any:
    """Plans; in conversation it sends again, whatever it is told and offered, and then tells what came of it."""
    if "response_format" in body:
        return says(json.dumps(two_steps()))
    last = body["messages"][-1]
    if last.get("tool_call_id") == "again":
        return says(last["content"])
    function = {"name": "shop__send", "arguments": '{"to": "Ada"}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "again", "type": "function", "function": function}],
    }
    return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": {}}


@pytest.mark.parametrize(
    ("send", "look"), [("sent", 500), (500, "a person")], ids=["done, then a failure", "its end not known"]
)
def test_what_was_done_or_may_have_been_is_not_done_again(
    tmp_path: Path, send: str | int, look: str | int
) -> None:
    tools = {"send": (SEND, lambda _: send), "look": (LOOK, lambda _: look)}
    script, path = Script(insists, tools), tmp_path / "gateway.sock"
    with (
        gateway(path, script),
        service(tmp_path, "harness", GATEWAY_SOCKET=str(path), TOOL_SERVERS="shop") as agent,
    ):
        text = agent.says("Send to Ada, then look up Ada", settings={"planning": "on"}, request_id="w")
        assert text == "There is no tool 'shop__send'."
    assert [name for name, _, _ in script.called].count("send") == 1
    talk = next(body for body in script.asked if "response_format" not in body)
    assert [tool["function"]["name"] for tool in talk["tools"]] == ["shop__look"]
    results = [m for m in talk["messages"] if m["role"] == "tool"]
    assert [call["id"] for m in talk["messages"] for call in m.get("tool_calls", ())] == [
        m["tool_call_id"] for m in results
    ]
    assert "sent" in results[0]["content"] if send == "sent" else "failed" in results[0]["content"]
    ran = [fact for fact in events(agent, "w", "workflow") if fact["ran"]]
    assert [fact["answered"] for fact in ran] == [False]


def test_the_operator_turns_planning_on_and_bounds_it_and_a_session_turns_it_off(tmp_path: Path) -> None:
    steps = [{"id": f"s{n}", "tool": "shop/look", "arguments": {"name": f"p{n}"}} for n in range(4)]
    planner = says(json.dumps({"steps": steps, "answer": "{s3}"}))
    script = Script(lambda body: planner if "response_format" in body else says("no plan"))
    script.tools["look"] = LOOK, lambda _: "a person"
    planning = {"on": True, "drafts": 3, "tool_calls": 2}
    choice = {"planning": {"enum": ["on", "off"]}}
    root = of_tree(tmp_path, {"planning": planning, "session_settings": choice})
    path = tmp_path / "g"
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="shop") as agent,
    ):
        assert agent.says("Look up p0, p1, p2 and p3", request_id="b") == "no plan"
        assert len(script.called) <= 2
        asked = len(script.asked)
        assert 2 <= asked <= 4
        assert agent.says("/set planning=off\nLook up p0, p1, p2 and p3", request_id="c") == "no plan"
        assert len(script.asked) == asked + 1


def test_what_a_shipped_workflow_did_before_it_failed_is_told_and_not_planned_again(tmp_path: Path) -> None:
    """Also not by the model: the tool is gone for the rest of the turn."""
    name = {"name": {"ref": "inputs.name"}}
    shipped = {
        "v": 1,
        "name": "first",
        "description": "Sends, then looks.",
        "trigger": "^Send to (?P<name>\\w+)",
        "inputs": {"name": {"type": "string"}},
        "nodes": [
            {"id": "a", "kind": "tool", "tool": "shop/send", "arguments": {"to": name["name"]}},
            {"id": "b", "kind": "tool", "tool": "shop/look", "arguments": name, "after": ["a"]},
            {"id": "answer", "kind": "output", "text": "{b}", "values": {"b": {"ref": "b"}}},
        ],
    }
    script, path = Script(insists), tmp_path / "g"
    script.tools |= {"send": (SEND, lambda _: "sent"), "look": (LOOK, lambda _: 500)}
    root = of_tree(tmp_path, {"planning": {"on": True}}, shipped)
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="shop") as agent,
    ):
        assert agent.says("Send to Ada", request_id="f") == "There is no tool 'shop__send'."
        [told] = events(agent, "f", "workflow")
    assert (told["source"], told["answered"]) == ("shipped", False)
    assert [name for name, _, _ in script.called].count("send") == 1
    assert all("response_format" not in body for body in script.asked)
