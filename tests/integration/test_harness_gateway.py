"""The reference substrate behind the real gateway and real MCP servers."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness_gateway import real_gateway, upstream
from harness_gateway_double import Json, Script, asks, says
from harness_service import Service, service


def model(body: Json) -> Any:
    last = body["messages"][-1]
    if last["role"] == "tool":
        return says(
            json.dumps({m["tool_call_id"]: m["content"] for m in body["messages"] if m["role"] == "tool"})
        )
    return asks(*[tuple(call) for call in json.loads(last["content"])])


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("real")
    with (
        upstream(Script(model)) as base_url,
        real_gateway(folder, base_url) as path,
        service(folder, "harness", GATEWAY_SOCKET=str(path), TOOL_SERVERS="git,time") as running,
    ):
        yield running


def recorded(agent: Service, turn: str) -> list[Json]:
    lines = (agent.state.parent / "calls.jsonl").read_text().splitlines()
    return [call for call in map(json.loads, lines) if call.get("request_id") == turn]


def to_zone(zone: str) -> Json:
    return {"source_timezone": "UTC", "time": "12:00", "target_timezone": zone}


def test_parallel_calls_of_real_servers_are_what_the_gateway_saw(agent: Service) -> None:
    zones = {"a": "Asia/Tokyo", "b": "Asia/Kathmandu", "c": "Not/AZone"}
    wanted = [(name, "time__convert_time", to_zone(zone)) for name, zone in zones.items()]
    answer = json.loads(agent.says(json.dumps(wanted), request_id="turn-1"))
    assert "21:00:00+09:00" in answer["a"]
    assert "17:45:00+05:45" in answer["b"]
    calls = recorded(agent, "turn-1")
    assert [call["kind"] for call in calls].count("model") == 2
    tools = [call["request"]["arguments"]["target_timezone"] for call in calls if call["kind"] == "tool"]
    assert sorted(tools) == sorted(zones.values())
    lines = (agent.state / "events.jsonl").read_text().splitlines()
    results = [e for e in map(json.loads, lines) if e["kind"] == "tool_result" and e["turn"] == "turn-1"]
    assert [(e["call_id"], e["is_error"]) for e in results] == [("a", False), ("b", False), ("c", True)]


def test_the_shipped_clock_runs_on_the_real_time_server(agent: Service) -> None:
    text = agent.says("10:30 in UTC is when in Asia/Tokyo and Asia/Kathmandu?", request_id="turn-2")
    assert [line.split("T")[-1] for line in text.splitlines()] == ["19:30:00+09:00", "16:15:00+05:45"]
    assert [call["kind"] for call in recorded(agent, "turn-2")] == ["tool", "tool"]


def test_the_shipped_repository_state_runs_on_the_real_git_server(agent: Service, tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "the first of all"], check=True)
    text = agent.says(f"State of the repository {tmp_path}", request_id="turn-3")
    assert "nothing to commit" in text
    assert "the first of all" in text
