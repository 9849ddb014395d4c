"""A coder's door to its model: a real gateway process, the key and the caps behind it, in all four wire formats."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from coder_bench import upstream
from model_server import KEY, Script, model_server

from containers.runtime import RuntimeBroken
from evolve.coding.door import open_door
from evolve.coding.protocol import CodingBudget
from evolve.coding.steps import Fault, Say
from trial.gateway import Upstream

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": []}
TOOL = {"type": "function", "function": {"name": "bash", "parameters": {}}}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**CHAT, "tools": [TOOL]},
    "/v1/responses": {"model": "m", "input": [], "tools": [{"type": "function", "name": "exec_command"}]},
    "/v1/messages": {
        "model": "m",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "Bash", "input_schema": {}}],
    },
    "/v1beta/models/m:generateContent": {
        "contents": [],
        "tools": [{"functionDeclarations": [{"name": "read_file"}]}],
    },
}


def client(folder: Path) -> httpx2.Client:
    transport = httpx2.HTTPTransport(uds=str(folder / "gateway.sock"))
    return httpx2.Client(transport=transport, base_url="http://gateway", timeout=60)


@pytest.mark.parametrize("path", ASKED)
def test_each_format_goes_through_with_our_key_and_is_counted(tmp_path: Path, path: str) -> None:
    script, body = Script([Say("Hello.")]), ASKED[path]
    budget = CodingBudget(60, tokens=100_000, usd_micros=100_000, model_calls=3)
    streamed = path.replace(":generate", ":streamGenerate")
    with (
        model_server(script) as url,
        open_door(upstream(url, tmp_path), tmp_path / "audit", tmp_path / "g", budget) as door,
        client(door.folder) as http,
    ):
        headers = {"authorization": "Bearer mine", "x-api-key": "mine", "x-goog-api-key": "mine"}
        whole = http.post(path, json=body, headers=headers)
        part = http.post(
            streamed, json=body if streamed != path else {**body, "stream": True}, headers=headers
        )
        assert (whole.status_code, part.status_code) == (200, 200)
        assert "Hello." in whole.text
        assert "Hello." in part.text
        assert part.headers["content-type"].startswith("text/event-stream")
        assert (door.spent.tokens, door.spent.calls, door.refused) == (240, 2, "")
        assert set(script.keys) == {KEY}
        assert "cap is 3" not in http.post(path, json=body).text
        assert http.post(path, json=body).status_code == 402  # the fourth call
        assert "calls would reach 4" in door.refused
        assert len(script.requests) == 3
    log = [json.loads(line) for line in door.calls.read_text().splitlines()]
    assert [call["status"] for call in log] == [200, 200, 200, 402]
    assert KEY not in door.calls.read_text()


def test_a_limit_is_imposed_on_who_names_none(tmp_path: Path) -> None:
    script, path = Script([Say("Hello.")]), "/v1beta/models/m:generateContent"
    with (
        model_server(script) as url,
        open_door(
            upstream(url, tmp_path), tmp_path / "audit", tmp_path / "g", CodingBudget(60, tokens=9_000)
        ) as door,
        client(door.folder) as http,
    ):
        http.post(path, json={"contents": [], "generationConfig": {"temperature": 0}})
        http.post(
            path, json={"contents": [], "generationConfig": {"maxOutputTokens": 7, "candidateCount": True}}
        )
        assert (
            http.post(path, json={"contents": [], "generationConfig": {"candidateCount": 9}}).status_code
            == 402
        )
    sent = [body["generationConfig"] for _, body in script.requests]
    assert sent == [{"temperature": 0, "maxOutputTokens": 4096}, {"maxOutputTokens": 7}]


def test_counting_costs_nothing_and_all_else_is_a_closed_door(tmp_path: Path) -> None:
    script = Script([Fault("rate_limit")], retry_after=7)
    budget = CodingBudget(60, tokens=200, usd_micros=100_000)
    with (
        model_server(script) as url,
        open_door(upstream(url, tmp_path), tmp_path / "audit", tmp_path / "g", budget) as door,
        client(door.folder) as http,
    ):
        for path in ("/v1/messages/count_tokens", "/v1beta/models/m:countTokens"):
            assert "100" in http.post(path, json=ASKED["/v1/messages"]).text
        assert (door.spent.tokens, door.spent.calls) == (0, 2)
        for path in ("/v1/traces", "/api/event_logging/batch", "/v1beta/models/m:embedContent", "/v1/files"):
            assert http.post(path, json={}).status_code == 404
        assert {http.get(path).status_code for path in ("/", "/v1/models", "/api.json")} == {404}
        limited = http.post("/v1/messages", json={**ASKED["/v1/messages"], "max_tokens": 1})
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
        assert len(script.requests) == 3


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_a_stream_that_was_cut_costs_its_worst_case(tmp_path: Path, path: str) -> None:
    body = {**ASKED[path], "stream": True, "max_tokens": 5000}
    with (
        model_server(Script([Fault("cut")])) as url,
        open_door(
            upstream(url, tmp_path), tmp_path / "audit", tmp_path / "g", CodingBudget(60, 9000)
        ) as door,
        client(door.folder) as http,
    ):
        assert http.post(path, json=body).status_code == 200
        assert http.post(path, json=body).status_code == 402
        assert door.spent.tokens > 5000


def test_what_was_spent_is_kept_over_attempts(tmp_path: Path) -> None:
    body = {**ASKED["/v1/messages"], "max_tokens": 1}
    with model_server(Script([Say("Hello.")])) as url:
        for attempt in (1, 2):
            budget = CodingBudget(60, model_calls=1)
            with open_door(upstream(url, tmp_path), tmp_path / "audit", tmp_path / "g", budget) as door:
                with client(door.folder) as http:
                    assert [http.post("/v1/messages", json=body).status_code for _ in "ab"] == [200, 402]
                assert (door.spent.calls, door.spent.tokens) == (1, 120)
                assert json.loads(door.meter.read_text())["calls"] == attempt


HOLDER = """
import sys, time
from pathlib import Path
from evolve.coding.door import open_door
from evolve.coding.protocol import CodingBudget
from trial.gateway import Upstream
folder = Path(sys.argv[1])
with open_door(Upstream(base_url="http://127.0.0.1:9"), folder / "audit", folder / "g", CodingBudget(60)):
    print("open", flush=True)
    time.sleep(600)
"""


def test_the_gateway_ends_with_whoever_opened_it(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        config = str(tmp_path / "audit" / "gateway.json")
        assert _running(config)
        os.kill(holder.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while _running(config) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _running(config)


def _running(word: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"trial.gateway" in (text := path.read_bytes()) and word.encode() in text:
                return True
        except OSError:
            continue
    return False


def test_a_key_that_is_gone_is_said_in_one_line(tmp_path: Path) -> None:
    gone = Upstream(base_url="http://127.0.0.1:9", api_key_file=tmp_path / "none")
    with (
        pytest.raises(RuntimeBroken, match="api_key_file"),
        open_door(gone, tmp_path / "audit", tmp_path / "g", CodingBudget(60)),
    ):
        pytest.fail("it opened")
