"""A gateway for the harness's own tests: real wire formats over a real unix socket, scripted contents."""

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass
class Script:
    """What the model and the tools do, and what they were asked."""

    model: Callable[[Json], Any]
    tools: dict[str, tuple[Json, Callable[[Json], Any]]] = field(default_factory=dict)
    """Name -> (`tools/list` entry without the name, what a call returns: a whole result, or its text)."""
    sse: bool = False
    version: str = "2025-11-25"
    asked: list[Json] = field(default_factory=list)
    called: list[tuple[str, Json, dict[str, str]]] = field(default_factory=list)
    methods: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)


class Double(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    script: Script


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Double

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        script = self.server.script
        headers = {key.lower(): value for key, value in self.headers.items()}
        if self.path == "/v1/chat/completions":
            script.asked.append(body | {"_headers": headers})
            reply = script.model(body)
            status, reply = reply if isinstance(reply, tuple) else (200, reply)
            return self.send(status, reply)
        script.methods.append((body["method"], headers))
        return self.rpc(script, body, headers)

    def rpc(self, script: Script, body: Json, headers: dict[str, str]) -> None:
        if body["method"] == "initialize":
            session = f"session-{len(script.sessions)}"
            script.sessions.add(session)
            result: Json = {"protocolVersion": script.version, "capabilities": {"tools": {}}}
            return self.answer(script, body, result, {"mcp-session-id": session})
        if headers.get("mcp-session-id") not in script.sessions:
            return self.send(404, {"error": "no session"})
        if "id" not in body:
            return self.send(202, None)
        if body["method"] == "tools/list":
            names = sorted(script.tools)
            page = int(body["params"].get("cursor", 0))
            tools = [
                {"name": n, "inputSchema": {"type": "object"}} | script.tools[n][0]
                for n in names[page : page + 2]
            ]
            more = {"nextCursor": str(page + 2)} if page + 2 < len(names) else {}
            return self.answer(script, body, {"tools": tools, **more})
        name, arguments = body["params"]["name"], body["params"]["arguments"]
        script.called.append((name, arguments, headers))
        outcome = script.tools[name][1](arguments)
        if isinstance(outcome, int):
            return self.send(outcome, {"error": "broken"})
        if isinstance(outcome, str):
            outcome = {"content": [{"type": "text", "text": outcome}]}
        return self.answer(script, body, outcome)

    def answer(self, script: Script, body: Json, result: Json, headers: dict[str, str] | None = None) -> None:
        message = {"jsonrpc": "2.0", "id": body["id"], "result": result}
        if not script.sse:
            return self.send(200, message, headers)
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "…"}}
        data = "".join(f"event: message\ndata: {json.dumps(m)}\n\n" for m in (note, message)).encode()
        return self.send_data(200, data, {"content-type": "text/event-stream"} | (headers or {}))

    def send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_data(status, data, {"content-type": "application/json"} | (headers or {}))

    def send_data(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"content-length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def gateway(path: Path, script: Script) -> Iterator[Double]:
    server = Double(str(path), Handler)
    server.script = script
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(text: str) -> Json:
    """A chat completion that only talks."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


def asks(*calls: tuple[str, str, Json]) -> Json:
    """A chat completion that wants tools: (call id, name, arguments)."""
    entries = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for call_id, name, arguments in calls
    ]
    message = {"role": "assistant", "content": None, "tool_calls": entries}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": {}}


def slowly(seconds: float, result: Any) -> Callable[[Json], Any]:
    def call(_: Json) -> Any:
        time.sleep(seconds)
        return result

    return call
