"""The reference substrate as a process, with real HTTP on both sides."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from harness_gateway_double import Json, Script, asks, gateway, says, slowly
from harness_service import ROOT, Service, service
from jsonschema import Draft202012Validator

from workflows.codec import digest, to_json
from workflows.shipped import library

SCHEMA = json.loads((ROOT / "docs/schemas/event.schema.json").read_text())
BUY = {"inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}


def model(body: Json) -> Any:
    """Asks for the calls that the user writes as JSON; repeats what tools answered; else what it was told."""
    last = body["messages"][-1]
    if "response_format" in body:
        steps = [{"id": "s1", "tool": "shop/look", "arguments": {}}]
        return says(json.dumps({"steps": steps, "answer": "{s1}"}))
    if last["role"] == "tool":
        told = {m["tool_call_id"]: m["content"] for m in body["messages"] if m["role"] == "tool"}
        return says(json.dumps(told, sort_keys=True))
    if last["content"].startswith("["):
        return asks(*[tuple(call) for call in json.loads(last["content"])])
    if last["content"].startswith("fail"):
        return int(last["content"].split()[1]), {"error": "no"}
    if last["content"] == "nonsense":
        return {"hello": "world"}
    if last["content"].startswith("wait"):
        time.sleep(float(last["content"].split()[1]))
    return says(" / ".join(str(m["content"]) for m in body["messages"][1:]))


def scripted(**more: Any) -> Script:
    tools: dict[str, tuple[Json, Callable[[Json], Any]]] = {
        "slow": ({}, slowly(0.3, "slow answer")),
        "quick": ({}, lambda _: "quick answer"),
        "buy": (BUY, lambda arguments: json.dumps({"bought": arguments["n"]})),
        "lies": ({}, lambda _: '{"ok": false, "why": "empty"}'),
        "broken": ({}, lambda _: 500),
        "delete_all": ({}, lambda _: "gone"),
    }
    return Script(model, tools, **more)


@pytest.fixture
def script() -> Script:
    return scripted()


@pytest.fixture
def agent(tmp_path: Path, script: Script) -> Iterator[Service]:
    path = tmp_path / "gateway.sock"
    with (
        gateway(path, script),
        service(
            tmp_path, "harness", GATEWAY_SOCKET=str(path), TOOL_SERVERS="shop", MODEL_NAME="m1"
        ) as running,
    ):
        yield running


def events(agent: Service, turn: str | None = None) -> list[Json]:
    lines = (agent.state / "events.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [event for event in found if turn is None or event["turn"] == turn]


def call(*entries: tuple[str, str, Json]) -> str:
    return json.dumps(entries)


def test_parallel_results_go_back_under_their_own_call_ids(agent: Service, script: Script) -> None:
    """The calls are under way together: each waits for the others. The first asked for answers last."""
    together = threading.Barrier(3)

    def meet(arguments: Json) -> str:
        together.wait(20)
        time.sleep(arguments["wait"])
        return str(arguments["name"])

    script.tools["meet"] = ({}, meet)
    waits = {"a": 0.2, "b": 0.0, "c": 0.1}
    wanted = [(name, "shop__meet", {"name": f"for {name}", "wait": wait}) for name, wait in waits.items()]
    text = agent.says(call(*wanted), request_id="p")
    assert json.loads(text) == {name: f"for {name}" for name in waits}
    ids = [(e["kind"], e["call_id"]) for e in events(agent, "p") if e["kind"].startswith("tool_")]
    assert ids == [(kind, name) for kind in ("tool_call", "tool_result") for name in "abc"]
    assert [m["tool_call_id"] for m in script.asked[-1]["messages"] if m["role"] == "tool"] == ["a", "b", "c"]
    assert {headers["x-call-id"] for _, _, headers in script.called} == {"a", "b", "c"}
    assert {headers["x-request-id"] for _, _, headers in script.called} == {"p"}


def test_a_denied_call_never_reaches_the_tool_and_the_model_is_told(agent: Service, script: Script) -> None:
    text = agent.says(call(("a", "shop__delete_all", {}), ("b", "shop__quick", {})), request_id="d")
    assert "Refused by tool_policy" in json.loads(text)["a"]
    assert [name for name, _, _ in script.called] == ["quick"]
    facts = [e for e in events(agent, "d") if e.get("call_id") == "a"]
    assert [(e["kind"], e["name"], e["decision"]) for e in facts] == [
        ("hook", "arguments", "allow"),
        ("hook", "tool_policy", "deny"),
    ]
    order = [e.get("call_id", e["kind"]) for e in events(agent, "d")]
    assert order.index("b") < order.index("turn_ended")


def test_calls_that_make_no_sense_are_answered_without_a_tool(agent: Service, script: Script) -> None:
    wanted = call(("a", "shop__buy", {"n": "2"}), ("b", "shop__buy", {}), ("c", "nowhere", {}))
    text = json.loads(agent.says(wanted, request_id="n"))
    assert json.loads(text["a"]) == {"bought": 2}
    assert "required" in text["b"]
    assert "no tool" in text["c"]
    assert [arguments for _, arguments, _ in script.called] == [{"n": 2}]


def test_errors_of_tools_are_recorded_as_errors_also_those_dressed_as_success(agent: Service) -> None:
    text = agent.says(call(("a", "shop__lies", {}), ("b", "shop__broken", {})), request_id="e")
    results = {e["call_id"]: e for e in events(agent, "e") if e["kind"] == "tool_result"}
    assert results["a"]["is_error"]
    assert results["a"]["content"] == '{"ok": false, "why": "empty"}'
    assert results["b"]["is_error"]
    assert "status 500" in json.loads(text)["b"]


def test_settings_and_notes_stay_in_their_session(agent: Service) -> None:
    assert (
        agent.says("/set units=metric\nhow far?")
        == "Settings of this session:\n- units (the units of measured quantities): metric / how far?"
    )
    assert agent.says("hello", session="other", settings={"currency": "EUR"}).count("metric") == 0
    assert "currency" not in agent.says("again")
    assert "EUR" in agent.says("and now", session="other")
    assert agent.says("/remember the nonce") == "Noted."
    assert agent.says("/recall") == "Notes: the nonce"
    assert agent.says("/recall", session="other") == "Notes: none"
    assert agent.says("/tools").startswith("Tools: shop/broken, shop/buy")


def test_history_is_kept_and_not_doubled_by_clients_that_resend_it(agent: Service, script: Script) -> None:
    agent.says("one")
    sent = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "two"},
    ]
    agent.says("unused", messages=sent)
    assert [m["content"] for m in script.asked[-1]["messages"][1:]] == ["one", "one", "two"]


def test_the_same_request_id_has_one_effect_also_while_the_first_is_under_way(
    agent: Service, script: Script
) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: agent.turn("wait 0.3", request_id="same").json(), range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert agent.turn("other words", request_id="same").json() == answers[0]
    assert len(script.asked) == 1
    assert [e["kind"] for e in events(agent, "same")].count("turn_started") == 1


def test_sessions_run_side_by_side_and_one_session_in_order(agent: Service, script: Script) -> None:
    together, lock = threading.Barrier(4), threading.Lock()

    def meet(body: Json) -> Json:
        together.wait(20)
        return says("met")

    def alone(body: Json) -> Json:
        assert lock.acquire(blocking=False)
        time.sleep(0.05)
        lock.release()
        return says("alone")

    script.model = meet
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda n: agent.says("x", session=f"p{n}"), range(4))) == {"met"}
    script.model = alone
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda n: agent.says("x", session="one"), range(4))) == {"alone"}
    turns = [e["turn"] for e in events(agent) if e["session"] == "one"]
    assert turns == sorted(turns, key=turns.index)


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [("fail 500", 502, "model_failed"), ("nonsense", 502, "model_failed"), ("x" * 20_001, 403, "denied")],
)
def test_failures_have_a_status_and_are_facts(agent: Service, text: str, status: int, kind: str) -> None:
    response = agent.turn(text, request_id="f", stream=True)
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert agent.turn(text, request_id="f").json() == response.json()
    facts = events(agent, "f")
    assert facts[-1]["status"] == status
    assert any(e["kind"] == "error" for e in facts) == (status == 502)
    assert agent.says("still here?") == "still here?"


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"{", {}),
        (b'{"messages": []}', {}),
        (b'{"messages": [{"role": "user", "content": "x"}]}', {"x-turn-clock": "noon"}),
        (b'{"messages": [{"role": "user", "content": "x"}]}', {"x-session": "../.."}),
        (b'{"messages": [{"role": "user", "content": "x"}], "settings": 3}', {}),
    ],
)
def test_what_is_no_turn_is_refused_and_leaves_nothing(agent: Service, content: bytes, headers: Json) -> None:
    response = agent.http.post("/v1/chat/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert [e["kind"] for e in events(agent)] == ["process_started"]


def test_streaming_feedback_deletion_and_generated_ids(agent: Service) -> None:
    response = agent.turn("hello " * 30, stream=True, request_id="st")
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "hello " * 30
    assert response.text.endswith("data: [DONE]\n\n")
    answer = agent.http.post("/v1/feedback", json={"request_id": "st", "rating": "down", "comment": "no"})
    assert answer.status_code == 200
    assert agent.http.post("/v1/feedback", json={"request_id": "??", "rating": "up"}).status_code == 404
    assert agent.http.post("/v1/feedback", json={"request_id": "st", "rating": "meh"}).status_code == 400
    assert [e["target"] for e in events(agent) if e["kind"] == "feedback"] == ["st"]
    assert agent.http.delete("/v1/sessions/s1").json()["deleted"] is True
    assert agent.http.delete("/v1/sessions/s1").json()["deleted"] is False
    assert agent.says("anew") == "anew"
    body = {"messages": [{"role": "user", "content": "who am I?"}]}
    made = agent.http.post("/v1/chat/completions", json=body)
    assert made.headers["x-session"].startswith("s-")
    assert len(made.headers["x-request-id"]) == 26


def test_every_event_meets_the_published_schema(agent: Service, script: Script) -> None:
    script.tools["look"] = ({"annotations": {"readOnlyHint": True}}, lambda _: "looked")
    agent.says(call(("a", "shop__lies", {}), ("b", "nowhere", {}), ("c", "shop__delete_all", {})))
    agent.turn("fail 500")
    assert agent.says("Look!", settings={"planning": "on"}) == "looked"
    agent.http.post("/v1/feedback", json={"request_id": "r1", "rating": "up"})
    assert agent.http.get("/inflight").json() == {"inflight": 0}
    assert agent.http.get("/readyz").json()["epoch"] == 3
    agent.stop()
    found = events(agent)
    assert {e["kind"] for e in found} == set(SCHEMA["properties"]["kind"]["enum"])
    validator = Draft202012Validator(SCHEMA)
    for event in found:
        validator.validate(event)
    assert len({event["id"] for event in found}) == len(found)


def test_two_runs_of_the_same_requests_give_the_same_facts(tmp_path: Path) -> None:
    logs = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        script = scripted()
        with (
            gateway(folder / "g", script),
            service(folder, "harness", GATEWAY_SOCKET=str(folder / "g"), TOOL_SERVERS="shop") as agent,
        ):
            agent.turn(call(("a", "shop__slow", {}), ("b", "shop__quick", {}), ("c", "shop__lies", {})))
            agent.turn("/set units=metric\nhow far?")
            logs.append([{k: v for k, v in e.items() if k not in ("id", "ts", "ms")} for e in events(agent)])
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("sse", "version"), [(True, "2025-11-25"), (True, "2025-03-26"), (False, "2025-06-18")]
)
def test_mcp_forms(tmp_path: Path, sse: bool, version: str) -> None:
    script = scripted(sse=sse, version=version)
    path = tmp_path / "g"
    with (
        gateway(path, script),
        service(tmp_path, "harness", GATEWAY_SOCKET=str(path), TOOL_SERVERS="shop") as agent,
    ):
        assert json.loads(agent.says(call(("a", "shop__quick", {})))) == {"a": "quick answer"}
        script.sessions.clear()  # the server forgets us: the client opens a new session and asks again
        assert json.loads(agent.says(call(("b", "shop__buy", {"n": 1}))))["b"] == '{"bought": 1}'
    methods = [method for method, _ in script.methods]
    assert methods[:3] == ["initialize", "notifications/initialized", "tools/list"]
    assert methods.count("initialize") == 2
    told = {
        headers.get("mcp-protocol-version") for method, headers in script.methods if method == "tools/list"
    }
    assert told == ({version} if version >= "2025-06-18" else {None})


def test_a_tool_server_that_is_away_is_a_fact_and_the_turn_goes_on(tmp_path: Path) -> None:
    script = scripted(version="1999-01-01")
    path = tmp_path / "g"
    with (
        gateway(path, script),
        service(tmp_path, "harness", GATEWAY_SOCKET=str(path), TOOL_SERVERS="shop") as agent,
    ):
        assert agent.says("hello", request_id="a") == "hello"
        assert [e["where"] for e in events(agent, "a") if e["kind"] == "error"] == ["tools"]
        script.version = "2025-11-25"
        assert "shop/quick" in agent.says("/tools")


def test_a_policy_bounds_time_and_repeats_what_may_be_repeated(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for package in ("harness", "workflows"):
        shutil.copytree(ROOT / package, root / package)
    policy = {
        "limits": {"turn_seconds": 1.5, "rounds": 2},
        "tools": {"timeouts": {"shop/slow": 0.1}, "idempotent": ["shop/broken"]},
    }
    (root / "harness/policy.json").write_text(json.dumps(policy))
    script, path = scripted(), tmp_path / "g"
    script.tools["again"] = ({}, lambda _: "x")
    with (
        gateway(path, script),
        service(tmp_path, "harness", root, GATEWAY_SOCKET=str(path), TOOL_SERVERS="shop") as agent,
    ):
        text = json.loads(agent.says(call(("a", "shop__slow", {}), ("b", "shop__broken", {}))))
        assert "no answer within 0.1 s" in text["a"]
        assert [name for name, _, _ in script.called].count("broken") == 2
        assert [e["attempts"] for e in events(agent) if e.get("call_id") == "b" and "attempts" in e] == [2]
        late = agent.turn("wait 3", request_id="late")
        assert (late.status_code, late.json()["error"]["type"]) == (504, "timeout")
        assert events(agent, "late")[-1]["timed_out"] is True
        script.model = lambda _: asks(("z", "shop__again", {}))
        assert agent.says("for ever") == "I could not finish within 2 steps."


def test_a_shipped_workflow_answers_without_the_model_and_through_the_hooks(tmp_path: Path) -> None:
    names = ("source_timezone", "time", "target_timezone")
    schema = {"type": "object", "properties": {n: {"type": "string"} for n in names}, "required": list(names)}

    def convert(arguments: Json) -> str:
        time.sleep(0.2 if arguments["target_timezone"].startswith("Asia") else 0)
        if arguments["target_timezone"] == "Mars/Base":
            return '{"ok": false}'
        return json.dumps({"target": {"datetime": f"T in {arguments['target_timezone']}"}})

    script = Script(model, {"convert_time": ({"inputSchema": schema}, convert)})
    path = tmp_path / "g"
    with (
        gateway(path, script),
        service(tmp_path, "harness", GATEWAY_SOCKET=str(path), TOOL_SERVERS="time") as agent,
    ):
        question = "10:30 in Europe/Berlin is when in Asia/Tokyo and {}?"
        text = agent.says(question.format("America/Lima"), request_id="w")
        assert text == "Asia/Tokyo: T in Asia/Tokyo\nAmerica/Lima: T in America/Lima"
        assert script.asked == []
        facts = [(e["kind"], e["call_id"]) for e in events(agent, "w") if "call_id" in e]
        first = [fact for fact in facts if fact[1] == "world_clock_first"]
        assert facts == [*first, *[(kind, "world_clock_second") for kind, _ in first]]
        assert [kind for kind, _ in first] == ["hook", "hook", "tool_call", "tool_result", "hook"]
        assert agent.says(question.format("Mars/Base")).endswith(question.format("Mars/Base"))
        assert len(script.asked) == 1


def test_a_shipped_workflow_runs_as_the_point_that_the_settings_ask_for(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for package in ("harness", "workflows"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    [workflow] = [one for one in library() if one.name == "world_clock"]
    numbers = {"n": 20, "low": 0.5, "high": 1.0}

    def point(name: str, accuracy: float, seconds: float, tool: str) -> Json:
        table = json.loads(json.dumps(to_json(workflow)).replace("time/convert_time", tool))
        table["nodes"][0]["text"] = f"{name} {{first_time}}"
        latency = {"p50": seconds * 500, "p90": seconds * 1000}
        costs = {"cost_micro_usd": 5, "tokens": 0, "tool_calls": 2}
        accurate = {"value": accuracy, **numbers}
        configuration = {"first": name}
        return {
            "configuration": configuration, "accuracy": accurate, "latency_ms": latency, **costs, "workflow": table
        }  # fmt: skip

    points = [
        point("gone", 1.0, 0.1, "gone/convert_time"),
        point("sure", 0.9, 4, "time/convert_time"),
        point("quick", 0.7, 1.5, "time/convert_time"),
    ]
    library_folder = tree / "workflows" / "library"
    table = {"v": 1, "workflow": digest(workflow), "points": points}
    (library_folder / "world_clock.points.json").write_text(json.dumps(table))
    (library_folder / "old.points.json").write_text(json.dumps(table | {"workflow": "sha256:0"}))
    names = ("source_timezone", "time", "target_timezone")
    schema = {"type": "object", "properties": {n: {"type": "string"} for n in names}, "required": list(names)}
    answer = json.dumps({"target": {"datetime": "T"}})
    script = Script(model, {"convert_time": ({"inputSchema": schema}, lambda _: answer)})
    path = tmp_path / "g"
    with (
        gateway(path, script),
        service(tmp_path, "harness", tree, GATEWAY_SOCKET=str(path), TOOL_SERVERS="time") as agent,
    ):
        question = "10:30 in Europe/Berlin is when in Asia/Tokyo and America/Lima?"
        assert agent.says(question, request_id="a") == "sure T"
        assert agent.says(f"/set most_seconds=2\n{question}", request_id="b") == "quick T"
        assert agent.says(question) == "quick T"
        settings = {"most_seconds": "9", "least_accuracy": "0.8"}
        assert agent.says(question, settings=settings) == "sure T"
        assert agent.turn(question, settings={"most_seconds": "soon"}).status_code == 403
        [picked] = [e for e in events(agent, "a") if e.get("name") == "workflow_point"]
        assert picked["reason"] == (
            "world_clock: first=sure (accuracy 0.90, 4 s, 5 micro-USD); one of 2 points"
        )
        [ignored] = [e for e in events(agent) if e["kind"] == "error"]
        assert ignored["message"].startswith("old.points.json: made for no workflow that is here")
        assert script.asked == []


def test_sigterm_finishes_what_is_in_flight_and_exits_0(agent: Service) -> None:
    answers: list[httpx2.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(agent.turn("wait 0.7", request_id="last")))
    waiting.start()
    while agent.http.get("/inflight").json() != {"inflight": 1}:
        time.sleep(0.01)
    assert agent.stop() == 0
    waiting.join()
    assert answers[0].status_code == 200
    assert events(agent)[-1]["kind"] == "process_stopped"


def test_what_was_answered_survives_sigkill(tmp_path: Path, script: Script) -> None:
    path = tmp_path / "g"
    with gateway(path, script):
        env = {"GATEWAY_SOCKET": str(path), "TOOL_SERVERS": "shop"}
        with service(tmp_path, "harness", **env) as agent:
            answer = agent.turn("one", request_id="k").json()
            agent.process.kill()
            agent.process.wait()
        with service(tmp_path, "harness", **env) as agent:
            assert agent.turn("one", request_id="k").json() == answer
            agent.says("two")
            assert [m["content"] for m in script.asked[-1]["messages"][1:]] == ["one", "one", "two"]
            assert agent.stop() == 0
    assert run_command(tmp_path, "--self-test").returncode == 0


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    env = {"STATE_DIR": str(folder / "state")}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30)


def test_commands_and_their_exit_codes(tmp_path: Path) -> None:
    assert run_command(tmp_path, "--migrate").returncode == 0
    assert run_command(tmp_path, "--what").returncode == 2
    unset = run_command(tmp_path)
    assert (unset.returncode, unset.stderr) == (1, "harness: AGENT_SOCKET is not set\n")
    (tmp_path / "state" / "sessions.db").write_bytes(b"torn " * 500)
    broken = run_command(tmp_path, "--self-test")
    assert broken.returncode == 1
    assert broken.stderr.count("\n") == 1
