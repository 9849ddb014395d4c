"""A scripted model behind four wire formats: OpenAI chat and responses, Anthropic messages, Gemini; streaming or not.

It plays a list of steps (`evolve.coding.steps`) in the tools that each client offers, and misbehaves on order. It keeps no
conversation: which step is due is read from the number of tool results in the request, so a retry gets the same answer.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from model_tools import SIDE_ANSWER, Act, Asked, Tool, Words, translate
from model_wires import INPUT, Wire, wire_of

from evolve.coding.steps import Fault, Run, Say, Step

KEY = "the real key"
HANG_SECONDS = 600.0
DEAR = 50_000_000


@dataclass
class Script:
    """`rules`: the first whose text stands in a request plays, else `steps`."""

    steps: Sequence[Step] = ()
    rules: Sequence[tuple[str, Sequence[Step]]] = ()
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and body of all that was asked."""
    keys: list[str] = field(default_factory=list)
    served: list[tuple[int, int]] = field(default_factory=list)
    """Tokens taken in and given out, as told to the client, of each answer."""
    retry_after: int = 1
    _faults: Counter[int] = field(default_factory=Counter)

    def due(self, asked: Asked) -> Act | Fault:
        steps = next((found for needle, found in self.rules if needle in asked.text), self.steps)
        if not asked.tools and not asked.edits_in_text:
            first = steps[0] if steps else None
            return first if isinstance(first, Fault) and first.times is None else Words(SIDE_ANSWER)
        number = asked.results
        for place, step in enumerate(steps):
            if isinstance(step, Fault):
                if step.times is None or (number == 0 and self._faults[place] < step.times):
                    self._faults[place] += 1
                    return step
                continue
            if number == 0:
                return translate(step, asked, steps[place:])
            number -= 1
        return translate(Say("Done."), asked, ())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.script.requests.append((self.path, {}))
        self._json(404, {"error": {"message": "nothing here"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        script, path = self.server.script, self.path.partition("?")[0]
        script.requests.append((self.path, body))
        key = self.headers.get("x-api-key") or self.headers.get("x-goog-api-key")
        script.keys.append(key or self.headers.get("authorization", "").removeprefix("Bearer "))
        if path.endswith("/count_tokens"):
            return self._json(200, {"input_tokens": 100})
        if path.endswith(":countTokens"):
            return self._json(200, {"totalTokens": 100})
        wire = wire_of(path)(path, body)
        act = script.due(wire.asked)
        if isinstance(act, Fault):
            return self._misbehave(wire, act)
        return self._answer(wire, act)

    def _answer(self, wire: Wire, act: Act, output: int = 20) -> None:
        self.server.script.served.append((INPUT, output))
        if wire.streams:
            self._stream([_frame(event, data) for event, data in wire.events(act, output)])
        else:
            self._json(200, wire.whole(act, output))

    def _misbehave(self, wire: Wire, fault: Fault) -> None:
        texts = {
            "rate_limit": (429, "rate_limit_error", "slow down"),
            "server_error": (500, "api_error", "the model broke"),
            "overflow": (400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum"),
            "bad_key": (401, "authentication_error", "invalid api key"),
        }
        if fault.kind in texts:
            status, kind, message = texts[fault.kind]
            headers = {"retry-after": str(self.server.script.retry_after)} if status == 429 else {}
            return self._json(status, wire.error(status, kind, message, fault.kind), headers)
        if fault.kind == "hang":
            self.server.closing.wait(HANG_SECONDS)
            return self._json(500, {})
        if fault.kind == "refusal":
            frames = [_frame(event, data) for event, data in wire.refusal()]
            return self._stream(frames) if wire.streams else self._json(200, wire.refusal_whole())
        if fault.kind == "dear":
            return self._answer(wire, translate(Run("true"), wire.asked, ()), DEAR)
        if not wire.streams:
            return self._half(b"<html>no model here" if fault.kind == "garbage" else b'{"choices": [{"mess')
        call = Tool("Bash", {"command": "true " + "x" * 200}) if wire.asked.tools else Words("x" * 200)
        frames = [_frame(event, data) for event, data in wire.events(call, 20)]
        if fault.kind == "garbage":
            return self._stream([b'data: {"cho\xff\xfe\n\n', b"event: \x00\n\n", b"!!! not json\n\n"])
        whole = b"".join(frames[:-2])
        return self._stream([whole[: whole.rindex(b"xxx") - 20]], broken=True)

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _half(self, text: bytes) -> None:
        """An answer that ends before it should."""
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text) + (0 if text.startswith(b"<") else 4096)))
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(text)

    def _stream(self, frames: Sequence[bytes], broken: bool = False) -> None:
        """`broken`: more was promised than comes."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(sum(map(len, frames)) + (4096 if broken else 0)))
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for frame in frames:
            self.wfile.write(frame)
            self.wfile.flush()


def _frame(event: str | None, data: object) -> bytes:
    head = f"event: {event}\n" if event else ""
    return (head + "data: " + (data if isinstance(data, str) else json.dumps(data)) + "\n\n").encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.closing = script, threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle is what many tests are about."""


@contextmanager
def model_server(script: Script) -> Iterator[str]:
    """Serves while the block runs; yields its base URL."""
    with _Server(script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
