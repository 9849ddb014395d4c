"""The tiny substrate keeps the whole contract, and its documented patch makes it flaky."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from harness_gateway_double import Json, Script, gateway, says
from harness_service import ROOT, Service, service
from jsonschema import Draft202012Validator

TINY = ROOT / "harness" / "tiny"
SCHEMA = json.loads((ROOT / "docs/schemas/event.schema.json").read_text())


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, "service", TINY) as running:
        yield running


def events(agent: Service) -> list[Json]:
    return [json.loads(line) for line in (agent.state / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("add 2 40", "42"),
        ("largest 3 9 4", "9"),
        ("reverse abc", "cba"),
        ("upper abc", "ABC"),
        ("length four", "4"),
        ("sort b a", "a b"),
        ("echo x y", "x y"),
        ("anything else", "anything else"),
        ("recall", "nothing"),
    ],
)
def test_skills(tiny: Service, text: str, answer: str) -> None:
    assert tiny.says(text) == answer


def test_the_same_id_is_applied_once_and_the_count_tells_it(tiny: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: tiny.turn("sleep 0.05", request_id=f"r{n % 4}").json(), range(16)))
    assert sorted({reply["applied"]["count"] for reply in replies}) == [1, 2, 3, 4]
    applied = tiny.http.get("/v1/sessions/s1").json()["applied"]
    assert sorted(applied) == ["r0", "r1", "r2", "r3"]
    for reply in replies:
        assert applied[reply["applied"]["count"] - 1] == reply["id"].removeprefix("chatcmpl-")
    assert tiny.turn("add 1 1", request_id="r0").json() in replies


def test_failures_memory_streams_feedback_and_deletion(tiny: Service) -> None:
    assert tiny.says("remember the nonce") == "remembered"
    assert tiny.says("recall") == "the nonce"
    assert tiny.says("recall", session="other") == "nothing"
    broken = tiny.turn("add x", request_id="bad")
    assert (broken.status_code, broken.json()["applied"]["count"]) == (500, 3)
    stream = tiny.turn("echo hi", stream=True)
    assert '"content": "hi"' in stream.text
    assert stream.text.endswith("data: [DONE]\n\n")
    assert tiny.http.post("/v1/feedback", json={"request_id": "bad", "rating": "down"}).status_code == 200
    assert tiny.http.post("/v1/feedback", json={"request_id": "none", "rating": "down"}).status_code == 404
    assert tiny.http.post("/v1/chat/completions", content=b"{").status_code == 400
    assert tiny.http.get("/nowhere").status_code == 404
    assert tiny.http.delete("/v1/sessions/s1").json()["deleted"]
    assert tiny.http.get("/v1/sessions/s1").json()["count"] == 0
    ready = tiny.http.get("/readyz").json()
    assert ready == {"ready": True, "digest": "sha256:00", "epoch": 3, "boot_nonce": "nonce"}
    assert tiny.stop() == 0
    validator = Draft202012Validator(SCHEMA)
    for event in events(tiny):
        validator.validate(event)
    assert [e["kind"] for e in events(tiny)][-1] == "process_stopped"


def test_sigterm_finishes_what_is_in_flight(tiny: Service) -> None:
    answers: list[httpx2.Response] = []
    waiting = [
        threading.Thread(target=lambda n=n: answers.append(tiny.turn("sleep 0.4", session=f"s{n}")))
        for n in range(3)
    ]
    for thread in waiting:
        thread.start()
    while tiny.http.get("/inflight").json() != {"inflight": 3}:
        time.sleep(0.01)
    assert tiny.stop() == 0
    for thread in waiting:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_kills_lose_no_answered_turn_and_double_none(tmp_path: Path) -> None:
    answered: dict[str, int] = {}
    for life in range(3):
        with service(tmp_path, "service", TINY) as tiny:
            for n in range(life * 5, life * 5 + 5):
                answered[f"r{n}"] = tiny.turn("add 1", request_id=f"r{n}").json()["applied"]["count"]
            tiny.process.kill()
            tiny.process.wait()
    with service(tmp_path, "service", TINY) as tiny:
        assert tiny.http.get("/v1/sessions/s1").json()["applied"] == list(answered)
        assert tiny.turn("add 1", request_id="r0").json()["applied"]["count"] == 1
    assert list(answered.values()) == list(range(1, 16))


def run_command(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *arguments]
    env = {"STATE_DIR": str(state), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=TINY, env=env, capture_output=True, text=True, timeout=60)


def test_commands(tmp_path: Path) -> None:
    assert run_command(tmp_path / "s", "--migrate").returncode == 0
    assert run_command(tmp_path / "s", "--self-test").returncode == 0
    assert run_command(tmp_path / "s").returncode == 2
    (tmp_path / "s" / "state.db").write_bytes(b"torn " * 500)
    broken = run_command(tmp_path / "s", "--self-test")
    assert (broken.returncode, broken.stderr.count("\n")) == (1, 1)


def test_model_and_tools_through_the_gateway(tmp_path: Path) -> None:
    tools: dict[str, Any] = {"double": ({}, lambda arguments: str(arguments["n"] * 2))}
    script = Script(lambda body: says(body["messages"][-1]["content"].upper()), tools)
    with (
        gateway(tmp_path / "g", script),
        service(tmp_path, "service", TINY, GATEWAY_SOCKET=str(tmp_path / "g")) as tiny,
    ):
        assert tiny.says("ask hello") == "HELLO"
        assert tiny.says('tool calc/double {"n": 4}') == "8"
        script.sse = True
        assert tiny.says('tool calc/double {"n": 5}') == "10"
        kinds = [event["kind"] for event in events(tiny)]
    assert kinds.count("tool_result") == 2
    assert kinds.count("model_reply") == 1


def test_the_documented_patch_makes_it_flaky(tmp_path: Path) -> None:
    """The chance of fewer than 3 or more than 40 wrong answers in 60 is below 1 in 100,000."""
    page = (ROOT / "docs/substrate.md").read_text()
    diff = page.split("```diff\n")[1].split("```")[0].splitlines()
    [old] = [line[1:] for line in diff if line.startswith("-  ")]
    [new] = [line[1:] for line in diff if line.startswith("+  ")]
    tree = tmp_path / "tree"
    shutil.copytree(TINY, tree)
    source = tree / "service" / "turns.py"
    assert source.read_text().count(old) == 1
    source.write_text(source.read_text().replace(old, new))
    with service(tmp_path, "service", tree) as tiny:
        wrong = sum(tiny.says("add 1 1", session=f"s{n}") != "2" for n in range(60))
        assert 3 <= wrong <= 40
