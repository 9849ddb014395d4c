"""The gateway as its own process: real HTTP over a unix socket, real MCP servers and a real upstream."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from evidence.cases import Cassette, RecordedCall, RecordedTurn, VisibleCase
from trial.gateway import GatewayConfig, ReplayGateway, ToolServer, Upstream

BIN = Path(sys.executable).parent
TIME = {"command": [str(BIN / "mcp-server-time"), "--local-timezone", "UTC"]}

FLAKY = """
import json, os, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m:
        continue
    if m["method"] == "initialize":
        info = {"name": "f", "version": "1"}
        r = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
    elif m["method"] == "tools/list":
        cursor = m.get("params", {}).get("cursor")
        tool = {"name": "die" if cursor else "pid", "inputSchema": {"type": "object"}}
        r = {"tools": [tool]} if cursor else {"tools": [tool], "nextCursor": "two"}
    elif m["params"]["name"] == "die":
        os._exit(3)
    elif m["params"]["name"] == "env":
        r = {"content": [{"type": "text", "text": json.dumps(sorted(os.environ))}]}
    else:
        r = {"content": [{"type": "text", "text": str(os.getpid())}]}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"""


class _Model(BaseHTTPRequestHandler):
    """Echoes the last message; `slow` waits, `fail` answers 500; streams when asked."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, Any]] = []  # noqa: RUF012
    released = threading.Event()
    """Cleared, it holds `slow` answers back."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append({"path": self.path, "headers": dict(self.headers), "body": body})
        text = body["messages"][-1]["content"]
        if text.startswith("slow"):
            self.released.wait(60)
            time.sleep(0.3)
        if text == "fail":
            return self._send(500, "application/json", b'{"error": {"message": "no"}}')
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        if not body.get("stream"):
            answer = {
                "choices": [{"message": {"role": "assistant", "content": f"you said {text}"}}],
                "usage": usage,
            }
            return self._send(200, "application/json", json.dumps(answer).encode())
        parts: list[Any] = [{"choices": [{"delta": {"content": word}}]} for word in text.split()]
        if body.get("stream_options", {}).get("include_usage"):
            parts.append({"choices": [], "usage": usage})
        if text.startswith("break"):
            parts = parts[:1]
            self.close_connection = True
        lines = [f"data: {json.dumps(part)}\n\n" for part in parts] + ["data: [DONE]\n\n"]
        more = 100 if self.close_connection else 0  # promised and never sent
        return self._send(200, "text/event-stream", "".join(lines).encode(), more)

    def _send(self, status: int, kind: str, data: bytes, more: int = 0) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data) + more))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def upstream() -> Iterator[str]:
    _Model.seen.clear()
    _Model.released.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def gateway(
    tmp_path: Path, env: dict[str, str] | None = None, **config: object
) -> Iterator[subprocess.Popen[bytes]]:
    socket_path = tmp_path / "g.sock"
    config = {"socket": str(socket_path), "log": str(tmp_path / "calls.jsonl"), **config}
    (tmp_path / "g.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "trial.gateway", "--config", str(tmp_path / "g.json")]
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env={**os.environ, **(env or {})})
    try:
        deadline = time.monotonic() + 20
        while not _accepts(socket_path):
            assert process.poll() is None, (tmp_path / "stderr").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def client(tmp_path: Path) -> httpx2.Client:
    return httpx2.Client(
        transport=httpx2.HTTPTransport(uds=str(tmp_path / "g.sock")), base_url="http://gateway", timeout=30
    )


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def rpc(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": "a", "method": method, "params": params}


def logged(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]


def calls(tmp_path: Path) -> list[RecordedCall]:
    """Every logged call, through the model that evidence reads it with."""
    rows = [row for row in logged(tmp_path) if "catalog" not in row]
    for row in rows:
        assert row.pop("id")
        assert row.pop("ts") > 1e9
    return [RecordedCall.model_validate(row) for row in rows]


def test_model_calls_carry_the_key_and_are_recorded(tmp_path: Path, upstream: str) -> None:
    conf = {"base_url": upstream + "/v1", "api_key_env": "THE_KEY"}
    with gateway(tmp_path, {"THE_KEY": "sesame"}, upstream=conf), client(tmp_path) as http:
        answer = http.post("/v1/chat/completions", json=chat("hi", user="u1"), headers={"x-request-id": "t1"})
        assert answer.json()["choices"][0]["message"]["content"] == "you said hi"
        failed = http.post("/v1/chat/completions", json=chat("fail"))
        assert failed.status_code == 500
        assert http.post("/v1/chat/completions", content=b'{"a": NaN}').status_code == 400
    assert {key.lower(): value for key, value in _Model.seen[0]["headers"].items()}[
        "authorization"
    ] == "Bearer sesame"
    assert _Model.seen[0]["body"] == chat("hi", user="u1"), "what is forwarded is not changed"
    first, second = calls(tmp_path)
    assert (first.kind, first.target, first.request_id, first.status) == (
        "model",
        "/v1/chat/completions",
        "t1",
        200,
    )
    assert first.request == chat("hi")
    assert (first.start_order, first.end_order, second.status) == (0, 1, 500)
    assert "sesame" not in (tmp_path / "calls.jsonl").read_text()


def test_order_and_latency_are_right_under_concurrency(tmp_path: Path, upstream: str) -> None:
    with (
        gateway(tmp_path, upstream={"base_url": upstream}),
        client(tmp_path) as http,
        ThreadPoolExecutor(8) as pool,
    ):
        _Model.released.clear()
        slow = pool.submit(http.post, "/v1/chat/completions", json=chat("slow"))
        while not _Model.seen and not slow.done():
            time.sleep(0.01)
        list(pool.map(lambda i: http.post("/v1/chat/completions", json=chat(str(i))), range(20)))
        _Model.released.set()
        slow.result()
    rows = calls(tmp_path)
    assert [call.end_order for call in rows] == sorted(call.end_order for call in rows)
    last = rows[-1]
    assert last.request == chat("slow")
    assert last.start_order == 0
    assert last.latency >= 0.3
    orders = [order for call in rows for order in (call.start_order, call.end_order)]
    assert sorted(orders) == list(range(42))


def test_a_stream_passes_through_and_replays(tmp_path: Path, upstream: str) -> None:
    def read(http: httpx2.Client) -> list[str]:
        with http.stream("POST", "/v1/chat/completions", json=chat("a b c", stream=True)) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            return [line for line in response.iter_lines() if line]

    with gateway(tmp_path, upstream={"base_url": upstream}), client(tmp_path) as http:
        live = read(http)
    assert live[-1] == "data: [DONE]"
    assert len(live) == 4
    with ReplayGateway(tmp_path / "g.sock") as replay, client(tmp_path) as http:
        replay.load(_case(calls(tmp_path)))
        assert read(http) == live
        assert replay.take_log()[0].response["frames"][0]["data"] == {
            "choices": [{"delta": {"content": "a"}}]
        }


def test_the_official_client_speaks_to_real_servers(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    servers = {"time": TIME, "git": {"command": [str(BIN / "mcp-server-git"), "-r", str(repo)]}}

    async def talk(server: str) -> list[str]:
        transport = httpx2.AsyncHTTPTransport(uds=str(tmp_path / "g.sock"))
        http = httpx2.AsyncClient(transport=transport, headers={"x-request-id": "turn"})
        url = f"http://gateway/mcp/{server}"
        async with http, Client(streamable_http_client(url, http_client=http)) as mcp:
            tools = [tool.name for tool in (await mcp.list_tools()).tools]
            if server == "time":
                now = await mcp.call_tool("get_current_time", {"timezone": "UTC"})
                assert json.loads(now.content[0].text)["timezone"] == "UTC"
                wrong = await mcp.call_tool("get_current_time", {"timezone": "Nowhere/None"})
                assert wrong.is_error
            else:
                status = await mcp.call_tool("git_status", {"repo_path": str(repo)})
                assert "No commits yet" in status.content[0].text
            return tools

    with gateway(tmp_path, servers=servers):
        assert "convert_time" in asyncio.run(talk("time"))
        assert len(asyncio.run(talk("git"))) == 12
        with client(tmp_path) as http:
            assert http.get("/mcp").json() == {"servers": ["time", "git"]}
            assert http.get("/mcp/time").status_code == 405
            assert http.delete("/mcp/time").status_code == 200
            assert http.post("/mcp/none", json=rpc("ping")).status_code == 404
            note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            assert http.post("/mcp/time", json=note).status_code == 202
            assert http.post("/mcp/time", json=[note]).json()["error"]["code"] == -32600
    catalog = [row["catalog"] for row in logged(tmp_path) if "catalog" in row][-1]
    assert catalog["time"]["initialize"]["serverInfo"]["name"] == "mcp-time"
    assert len(catalog["git"]["tools/list"]["tools"]) == 12
    recorded = calls(tmp_path)
    assert [call.target for call in recorded] == ["time/get_current_time"] * 2 + ["git/git_status"]
    assert recorded[0].request == {"name": "get_current_time", "arguments": {"timezone": "UTC"}}
    assert recorded[0].request_id == "turn"
    assert set(recorded[0].response) == {"result"}

    with ReplayGateway(tmp_path / "g.sock") as replay:
        replay.load(_case(recorded, catalog))
        assert "convert_time" in asyncio.run(talk("time")), (
            "the same client is served from the recording alone"
        )
        assert replay.misses == ()
        assert [call.target for call in replay.take_log()] == ["time/get_current_time"] * 2


def test_a_server_that_dies_in_a_call_is_recorded_and_started_again(tmp_path: Path) -> None:
    servers = {"flaky": {"command": [sys.executable, "-c", FLAKY]}}

    def call(http: httpx2.Client, tool: str) -> dict[str, Any]:
        return http.post("/mcp/flaky", json=rpc("tools/call", name=tool, arguments={})).json()

    with gateway(tmp_path, {"SECRET": "x"}, servers=servers), client(tmp_path) as http:
        pages = [
            http.post("/mcp/flaky", json=rpc("tools/list", **at)).json() for at in ({}, {"cursor": "two"})
        ]
        assert [page["result"]["tools"][0]["name"] for page in pages] == ["pid", "die"]
        first = call(http, "pid")["result"]["content"][0]["text"]
        assert "died" in call(http, "die")["error"]["message"]
        second = call(http, "pid")["result"]["content"][0]["text"]
        assert first != second
        assert "SECRET" not in call(http, "env")["result"]["content"][0]["text"]
    assert not Path(f"/proc/{second}").exists()
    recorded = calls(tmp_path)
    assert [row.target for row in recorded] == ["flaky/pid", "flaky/die", "flaky/pid", "flaky/env"]
    assert set(recorded[1].response) == {"error"}
    catalog = [row["catalog"] for row in logged(tmp_path) if "catalog" in row][-1]
    assert set(catalog["flaky"]) == {"tools/list", "tools/list?cursor=two"}


def test_caps_hold_over_restarts_and_nothing_is_forwarded(tmp_path: Path, upstream: str) -> None:
    conf = {
        "upstream": {"base_url": upstream, "prices": {"m": {"input": 1_000_000, "output": 2_000_000}}},
        "caps": {"micro_usd": 400},
        "meter": str(tmp_path / "meter.json"),
    }
    body = chat("x", max_tokens=100)
    with gateway(tmp_path, **conf), client(tmp_path) as http:
        assert http.post("/v1/chat/completions", json=body).status_code == 200
        assert json.loads((tmp_path / "meter.json").read_text())["micro_usd"] == 20
        unpriced = http.post("/v1/chat/completions", json={**body, "model": "other"})
        assert unpriced.status_code == 400
        assert "no price" in unpriced.json()["error"]["message"]
        streamed = http.post("/v1/chat/completions", json={**body, "stream": True})
        assert b'"usage"' not in streamed.content, "a usage frame that nobody asked for is not shown"
        assert json.loads((tmp_path / "meter.json").read_text())["micro_usd"] == 40
    with gateway(tmp_path, **conf), client(tmp_path) as http:
        statuses = [http.post("/v1/chat/completions", json=body).status_code for _ in range(10)]
        over = http.post("/v1/chat/completions", json=body)
    assert statuses[0] == 200
    assert statuses[-1] == 402
    assert over.json()["error"]["type"] == "insufficient_quota"
    assert len(_Model.seen) == 2 + statuses.count(200)
    assert calls(tmp_path)[-1].status == 402


def test_a_full_disk_refuses_new_calls_and_loses_no_answer(tmp_path: Path, upstream: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        config = {"upstream": {"base_url": upstream}, "log": str(disk / "calls.jsonl"), "record_wait": 0.2}
        with gateway(tmp_path, **config), client(tmp_path) as http:
            sent = [http.post("/v1/chat/completions", json=chat(f"{i} " + "x" * 9000)) for i in range(5)]
            statuses = [answer.status_code for answer in sent]
            assert statuses[0] == 200
            assert statuses[-1] == 503
            assert "No space left" in sent[-1].json()["error"]["message"]
            assert http.get("/healthz").status_code == 503
            subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
            deadline = time.monotonic() + 10
            while http.get("/healthz").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert http.post("/v1/chat/completions", json=chat("after")).status_code == 200
        (tmp_path / "calls.jsonl").write_bytes((disk / "calls.jsonl").read_bytes())
        answered = [answer for answer in sent if answer.status_code == 200]
        assert len(calls(tmp_path)) == len(answered) + 1 == len(_Model.seen)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_sigkill_leaves_a_log_that_goes_on(tmp_path: Path, upstream: str) -> None:
    with gateway(tmp_path, upstream={"base_url": upstream}) as process, client(tmp_path) as http:
        http.post("/v1/chat/completions", json=chat("one"))
        process.send_signal(signal.SIGKILL)
        process.wait()
    with (tmp_path / "calls.jsonl").open("ab") as file:
        file.write(b'{"kind": "mod')
    with gateway(tmp_path, upstream={"base_url": upstream}), client(tmp_path) as http:
        http.post("/v1/chat/completions", json=chat("two"))
    lines = (tmp_path / "calls.jsonl").read_bytes().splitlines()
    assert len(lines) == 3
    assert lines[1] == b'{"kind": "mod'
    orders = [json.loads(lines[i])["start_order"] for i in (0, 2)]
    assert orders == [0, 2]


@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        ({"mode": "dance"}, 2, "mode"),
        ({"caps": {"calls": 1}}, 2, "caps need `meter`"),
        ({"upstream": {"base_url": "http://x", "api_key_env": "NOT_THERE"}}, 2, "NOT_THERE is not set"),
        ({"mode": "replay", "case": "/none.json"}, 2, "/none.json"),
    ],
)
def test_a_bad_configuration_is_one_line(
    tmp_path: Path, table: dict[str, object], code: int, said: str
) -> None:
    (tmp_path / "g.json").write_text(
        json.dumps({"socket": str(tmp_path / "s"), "log": str(tmp_path / "l"), **table})
    )
    done = subprocess.run(
        [sys.executable, "-m", "trial.gateway", "--config", str(tmp_path / "g.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


_CALL = {
    "kind": "tool",
    "target": "s/t",
    "request_id": "",
    "request": {},
    "response": {"result": {}},
    "start_order": 0,
    "end_order": 1,
    "latency": 0,
}


def _case(recorded: list[RecordedCall], catalog: dict[str, object] | None = None) -> VisibleCase:
    turn = RecordedTurn(request_id="t", session="s", path="/v1/chat/completions", body={})
    cassette = Cassette(calls=tuple(recorded), catalog=catalog or {})
    return VisibleCase(id="c", evidence_id="e", fingerprint="f", turn=turn, cassette=cassette)


def test_a_live_miss_goes_to_the_upstream_and_its_failure_is_trouble(tmp_path: Path, upstream: str) -> None:
    config = GatewayConfig(
        socket=tmp_path / "g.sock",
        mode="live",
        upstream=Upstream(base_url=upstream),
        servers={"time": ToolServer(command=tuple(TIME["command"]))},
    )
    with ReplayGateway(tmp_path / "g.sock", config) as replay, client(tmp_path) as http:
        replay.load(_case([]))
        assert http.post("/v1/chat/completions", json=chat("new")).status_code == 200
        assert replay.trouble is None
        assert replay.misses == ("model /v1/chat/completions: live",)
        assert http.post("/mcp/time", json=rpc("tools/call", name="x")).status_code == 404
        replay.load(_case([]).model_copy(update={"on_tool_miss": "live"}))
        answer = http.post(
            "/mcp/time", json=rpc("tools/call", name="get_current_time", arguments={"timezone": "UTC"})
        )
        assert not answer.json()["result"]["isError"]
        http.post("/v1/chat/completions", json=chat("fail"))
        assert replay.trouble == "upstream answered 500"
        wrong = http.post("/mcp/time", json=rpc("tools/call", name="get_current_time", arguments={})).json()
        assert wrong["result"]["isError"]
        replay.load(_case([RecordedCall.model_validate(_CALL)]))
        unheard = http.post("/mcp/s", json=rpc("tools/call", name="other")).json()
        assert unheard["error"]["message"] == "no recorded answer to this call"
        assert replay.misses == ("tool s/other: fail",)
        replay.load(_case([]))
        http.post("/v1/chat/completions", json=chat("break off", stream=True))
        assert "the stream broke" in str(replay.trouble)
        assert "error" in replay.take_log()[0].response["frames"][-1]
        replay.load(_case([]))
        assert replay.trouble is None
        assert replay.take_log() == []


def test_a_server_that_dies_in_a_live_call_is_trouble_and_one_that_is_silent_is_not(tmp_path: Path) -> None:
    slow = ToolServer(command=(sys.executable, "-c", SLOW), timeout=2, cwd=tmp_path)
    config = GatewayConfig(socket=tmp_path / "g.sock", mode="live", servers={"slow": slow})
    live = _case([]).model_copy(update={"on_tool_miss": "live"})
    with ReplayGateway(tmp_path / "g.sock", config) as replay, client(tmp_path) as http:
        replay.load(live)
        silent = http.post("/mcp/slow", json=rpc("tools/call", name="hang", arguments={})).json()
        assert "no answer in 2 s" in silent["error"]["message"]
        assert replay.trouble is None
        gone = http.post("/mcp/slow", json=rpc("tools/call", name="die", arguments={})).json()
        assert gone["error"]["message"] == "tool server slow died during the call"
        assert "tool server slow" in str(replay.trouble)
        replay.load(live)
        assert http.post("/mcp/slow", json=rpc("tools/call", name="again", arguments={})).json()["result"]
        assert replay.trouble is None


def test_no_case_pays_for_the_start_of_a_live_tool_server(tmp_path: Path) -> None:
    late = ToolServer(command=(sys.executable, "-c", f"import time; time.sleep(1.5){SLOW}"), cwd=tmp_path)
    config = GatewayConfig(socket=tmp_path / "g.sock", mode="live", servers={"slow": late})
    with ReplayGateway(tmp_path / "g.sock", config) as replay, client(tmp_path) as http:
        replay.load(_case([]).model_copy(update={"on_tool_miss": "live"}))
        began = time.monotonic()
        assert http.post("/mcp/slow", json=rpc("tools/call", name="x", arguments={})).json()["result"]
        assert time.monotonic() - began < 1.2


SLOW = """
import json, sys, time
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        r = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
    elif m.get("method") == "notifications/cancelled":
        open("cancelled", "w").write(json.dumps(m["params"]))
        continue
    elif "id" not in m or "method" not in m or m["params"]["name"] == "hang":
        continue
    elif m["params"]["name"] == "die":
        raise SystemExit
    elif m["params"]["name"] == "huge":
        r = {"content": [{"type": "text", "text": "x" * 300000}]}
    else:
        time.sleep(0.1)
        print("a banner that is no JSON")
        print(json.dumps({"jsonrpc": "2.0", "id": 99, "method": "roots/list"}))
        r = {"content": [{"type": "text", "text": m["params"]["name"]}]}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"""


def test_hanging_huge_and_broken_servers_are_errors_not_outages(tmp_path: Path) -> None:
    servers = {
        "slow": {"command": [sys.executable, "-c", SLOW], "timeout": 2, "cwd": str(tmp_path)},
        "broken": {"command": [sys.executable, "-c", "raise SystemExit('no such luck')"], "timeout": 2},
        "absent": {"command": ["/none/such"]},
    }

    def call(server: str, tool: str) -> dict[str, Any]:
        with client(tmp_path) as http:
            return http.post(f"/mcp/{server}", json=rpc("tools/call", name=tool, arguments={})).json()

    said = tmp_path / "stderr"
    with gateway(tmp_path, servers=servers, max_body=100_000), ThreadPoolExecutor(8) as pool:
        hanging = pool.submit(call, "slow", "hang")
        answers = list(pool.map(lambda i: call("slow", f"t{i}"), range(6)))
        assert [answer["result"]["content"][0]["text"] for answer in answers] == [f"t{i}" for i in range(6)]
        assert {answer["id"] for answer in answers} == {"a"}, "every client gets its own id back"
        assert "no answer in 2 s" in hanging.result()["error"]["message"]
        assert "message over 100000 bytes" in call("slow", "huge")["error"]["message"]
        assert call("slow", "again")["result"]
        for server in ("broken", "absent"):
            assert call(server, "x")["error"]["message"] == f"tool server {server} does not start"
        with client(tmp_path) as http:
            failed = http.post("/mcp/broken", json=rpc("initialize", protocolVersion="2025-06-18"))
            assert failed.json()["error"]
            long = http.post("/mcp/slow", content=b'{"x": "' + b"x" * 200_000 + b'"}')
            assert long.status_code == 413
            packed = http.post("/mcp/slow", content=b"{}", headers={"content-encoding": "gzip"})
            assert packed.status_code == 415
    assert "tool server broken does not start: ServerGone" in said.read_text()
    assert "no such luck" in said.read_text()
    assert json.loads((tmp_path / "cancelled").read_text())["reason"] == "timeout"
    targets = [call_.target for call_ in calls(tmp_path)]
    assert targets.count("slow/hang") == 1
    assert targets[-1] == "broken#initialize", "a discovery that fails is a call"


def test_a_replaying_process_serves_a_case_from_a_file(tmp_path: Path) -> None:
    known = {"time": {"tools/list": {"tools": []}}}
    recorded = [RecordedCall.model_validate({**_CALL, "target": "time/now", "request": {"name": "now"}})]
    (tmp_path / "case.json").write_text(_case(recorded, known).model_dump_json())
    with gateway(tmp_path, mode="replay", case=str(tmp_path / "case.json")), client(tmp_path) as http:
        assert http.get("/mcp").json() == {"servers": ["time"]}
        assert http.post("/mcp/time", json=rpc("tools/list")).json()["result"] == {"tools": []}
        answers = [http.post("/mcp/time", json=rpc("tools/call", name="now")).json() for _ in range(2)]
    assert "result" in answers[0]
    assert "no recorded answer" in answers[1]["error"]["message"]


def test_a_client_that_leaves_a_stream_costs_no_record(tmp_path: Path, upstream: str) -> None:
    body = chat("slow b c", stream=True)
    running = gateway(tmp_path, upstream={"base_url": upstream})
    with running, client(tmp_path) as http, http.stream("POST", "/v1/chat/completions", json=body):
        pass
    (call,) = calls(tmp_path)
    assert call.response["frames"][-1]["data"] == "[DONE]"


def test_whoever_started_it_is_gone_before_it_listens(tmp_path: Path) -> None:
    """Its input has ended before it takes signals."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"socket": str(tmp_path / "gateway.sock"), "mode": "live"}))
    command = [sys.executable, "-m", "trial.gateway", "--config", str(config), "--lifeline"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGTERM)
    assert not (tmp_path / "gateway.sock").exists()


def test_two_gateways_share_neither_socket_nor_log(tmp_path: Path) -> None:
    with gateway(tmp_path):
        for change, said in (({}, "another gateway"), ({"log": str(tmp_path / "other")}, "listens here")):
            config = {"socket": str(tmp_path / "g.sock"), "log": str(tmp_path / "calls.jsonl"), **change}
            (tmp_path / "two.json").write_text(json.dumps(config))
            command = [sys.executable, "-m", "trial.gateway", "--config", str(tmp_path / "two.json")]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 5
            assert said in done.stderr
