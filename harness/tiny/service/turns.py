"""What the tiny substrate does with a turn: deterministic skills, a model and tools behind the gateway."""

import http.client
import json
import os
import socket
import time
import traceback
from collections.abc import Callable

from .state import EventLog, KeyedLocks, Reply, Store, Turn


class BadRequest(ValueError):
    """The request is no turn; nothing was applied."""


class Gateway:
    """Model and tools, only over the gateway's unix socket."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sessions: dict[str, str] = {}

    def post(self, path: str, body: object, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("gateway", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(60)
            connection.sock.connect(self.path)
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"} | headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ask(self, text: str, request_id: str) -> dict[str, object]:
        """One chat completion's first message."""
        body = {
            "model": os.environ.get("MODEL_NAME", "default"),
            "messages": [{"role": "user", "content": text}],
        }
        status, _, data = self.post("/v1/chat/completions", body, {"x-request-id": request_id})
        if status != 200:
            raise ConnectionError(f"the model answered {status}: {data[:200]!r}")
        message: dict[str, object] = json.loads(data)["choices"][0]["message"]
        return message

    def rpc(self, server: str, body: dict[str, object], headers: dict[str, str]) -> dict[str, object]:
        accept = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
        session = {"mcp-session-id": self.sessions[server]} if server in self.sessions else {}
        status, answer, data = self.post(f"/mcp/{server}", body, accept | session | headers)
        if status >= 400:
            raise ConnectionError(f"tool server {server} answered {status}: {data[:200]!r}")
        if "mcp-session-id" in answer:
            self.sessions[server] = answer["mcp-session-id"]
        lines = [line[5:] for line in data.splitlines() if line.startswith(b"data:")] or [data]
        messages = [json.loads(line) for line in lines if line.strip()]
        return next((message for message in messages if message.get("id") == body.get("id")), {})

    def call(self, server: str, tool: str, arguments: object, request_id: str) -> tuple[str, bool]:
        """A tool's text and whether it is an error."""
        turn = {"x-request-id": request_id}
        if server not in self.sessions:
            hello = {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "tiny", "version": "1"},
            }
            self.rpc(server, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}, turn)
            self.sessions.setdefault(server, "")
            self.rpc(server, {"jsonrpc": "2.0", "method": "notifications/initialized"}, turn)
        params = {"name": tool, "arguments": arguments}
        body: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = self.rpc(server, body, turn | {"x-call-id": f"{request_id}-0"})
        result = answer.get("result")
        if not isinstance(result, dict):
            return json.dumps(answer.get("error")), True
        text = "".join(part.get("text", "") for part in result.get("content", []))
        return text, bool(result.get("isError"))


def add(text: str) -> str:
    return str(sum(int(word) for word in text.split()))


def largest(text: str) -> str:
    return str(max(int(word) for word in text.split()))


SKILLS: dict[str, Callable[[str], str]] = {
    "echo": lambda text: text,
    "add": add,
    "largest": largest,
    "reverse": lambda text: text[::-1],
    "upper": str.upper,
    "length": lambda text: str(len(text)),
    "sort": lambda text: " ".join(sorted(text.split())),
}


class Agent:
    """Applies turns: a session's one after another, a request id once."""

    def __init__(self, store: Store, events: EventLog, gateway: Gateway | None) -> None:
        self.store, self.events, self.gateway = store, events, gateway
        self.locks = KeyedLocks()

    def handle(
        self, path: str, body: dict[str, object], session: str, request_id: str, clock: float
    ) -> Reply:
        text = last_user_text(body)
        with self.locks.holding(f"request {request_id}"), self.locks.holding(f"session {session}"):
            known = self.store.reply(request_id)
            if known is not None:
                return known
            turn = Turn(self.events, session, request_id)
            turn.emit("turn_started", path=path, body=body, clock=clock)
            started = time.monotonic()
            count = len(self.store.applied(session)) + 1
            status, answer, note = self.attempt(turn, text)
            reply = status, envelope(status, answer, request_id, clock, session, count)
            ms = round((time.monotonic() - started) * 1000, 3)
            turn.emit("turn_ended", status=status, reply=reply[1], ms=ms, timed_out=False)
            self.events.sync()
            self.store.apply(turn, count, note, reply)
            return reply

    def attempt(self, turn: Turn, text: str) -> tuple[int, str, str | None]:
        """Status, answer and what is to be remembered. A skill that fails is a fact of the turn."""
        try:
            answer, note = self.perform(turn, text)
        except (ValueError, OSError) as error:
            trace = traceback.format_exc()
            turn.emit("error", where="skill", type=type(error).__name__, message=str(error), traceback=trace)
            return 500, f"{type(error).__name__}: {error}", None
        return 200, answer, note

    def perform(self, turn: Turn, text: str) -> tuple[str, str | None]:
        name, _, rest = text.partition(" ")
        if name in SKILLS:
            return SKILLS[name](rest), None
        if name == "remember":
            return "remembered", rest
        if name == "recall":
            return ", ".join(self.store.notes(turn.session)) or "nothing", None
        if name == "sleep":
            time.sleep(min(float(rest), 30.0))
            return "slept", None
        if name == "ask" and self.gateway:
            return self.ask(turn, rest), None
        if name == "tool" and self.gateway:
            return self.use(turn, rest), None
        return text, None

    def ask(self, turn: Turn, text: str) -> str:
        assert self.gateway
        messages = [{"role": "user", "content": text}]
        turn.emit(
            "model_call", index=0, model=os.environ.get("MODEL_NAME", "default"), messages=messages, tools=[]
        )
        started = time.monotonic()
        message = self.gateway.ask(text, turn.request_id)
        ms = round((time.monotonic() - started) * 1000, 3)
        turn.emit("model_reply", index=0, message=message, finish_reason="stop", usage={}, ms=ms)
        return str(message.get("content"))

    def use(self, turn: Turn, text: str) -> str:
        """`tool SERVER/NAME {"argument": …}`"""
        assert self.gateway
        target, _, arguments = text.partition(" ")
        server, _, tool = target.partition("/")
        call = {"call_id": f"{turn.request_id}-0", "server": server, "tool": tool}
        parsed = json.loads(arguments or "{}")
        turn.emit("tool_call", **call, arguments=parsed)
        started = time.monotonic()
        content, is_error = self.gateway.call(server, tool, parsed, turn.request_id)
        ms = round((time.monotonic() - started) * 1000, 3)
        turn.emit("tool_result", **call, content=content, is_error=is_error, ms=ms)
        return content


def last_user_text(body: dict[str, object]) -> str:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: a list with at least one message is needed")
    users = [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    if not users or not isinstance(users[-1].get("content"), str):
        raise BadRequest("messages: the last user message needs a text")
    return str(users[-1]["content"])


def envelope(
    status: int, answer: str, request_id: str, clock: float, session: str, count: int
) -> dict[str, object]:
    applied = {"session": session, "count": count}
    if status != 200:
        return {"error": {"message": answer, "type": "skill_failed"}, "applied": applied}
    choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    completion = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": int(clock),
        "model": "tiny",
    }
    return completion | {"choices": [choice], "usage": usage, "applied": applied}
