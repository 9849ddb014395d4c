"""`--max-usd` holds at the endpoint: what it served, at its price, is never above, whatever a coder does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from evolve_world import World
from pipeline_world import INTERPRETER, play

from evolve.settings import FILE_NAME

HERE = Path(__file__).parent
INPUT, OUTPUT = 3_000_000, 15_000_000
CAP = 500_000
DEFAULT_LIMIT = 16_384


@dataclass
class Till:
    """What an endpoint would send a bill for, in micro-USD: every character a token, every answer as long as it was let."""

    served: int = 0
    calls: int = 0
    unbounded: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, body: dict[str, Any]) -> tuple[int, int]:
        size = sum(len(message["content"]) for message in body["messages"])
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        with self.lock:
            self.calls += 1
            if not isinstance(limit, int):
                self.unbounded.append(body)
                limit = DEFAULT_LIMIT
            out = limit * int(body.get("n", 1))
            self.served += -(-(size * INPUT + out * OUTPUT) // 1_000_000)
        return size, out


class _Endpoint(BaseHTTPRequestHandler):
    """Answers in the manner that the request's first word names; whatever it does, it has charged before."""

    server: "_Server"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        given, made = self.server.till.charge(body)
        manner = str(body["messages"][-1]["content"]).partition(" ")[0]
        anthropic = self.path == "/v1/messages"
        usage = (
            {"input_tokens": given, "output_tokens": made}
            if anthropic
            else {"prompt_tokens": given, "completion_tokens": made}
        )
        if manner == "error":
            self._answer(200, b"<html>what?")
            return
        if not body.get("stream"):
            shown = {} if manner == "silent" else {"usage": usage}
            message = {"choices": [{"message": {"role": "assistant", "content": "3"}}], **shown}
            self._answer(200, json.dumps(message).encode())
            return
        first = (
            {"type": "message_start", "message": {"usage": {**usage, "output_tokens": 1}}}
            if anthropic
            else {"choices": []}
        )
        last = {"type": "message_delta", "usage": usage} if anthropic else {"choices": [], "usage": usage}
        frames = [first] if manner in ("cut", "left") else [first, last]
        data = b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)
        self._answer(200, data, "text/event-stream", more=4096 if manner == "left" else 0)

    def _answer(self, status: int, data: bytes, kind: str = "application/json", more: int = 0) -> None:
        """`more`: bytes that are promised and never come."""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data) + more))
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.till = Till()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are what this is about."""


@contextmanager
def endpoint() -> Iterator[tuple[str, Till]]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.till
        finally:
            server.shutdown()
            thread.join()


def configure(world: World, folder: Path, url: str, what: str, **price: int) -> None:
    """The coder and the service ask the same endpoint."""
    folder.mkdir()
    (folder / "flood.py").write_text((HERE / "pipeline_flood.py").read_text())
    tables: dict[str, dict[str, object]] = {
        "model": {"base_url": url, **price},
        "coders.flood": {
            "argv": [str(INTERPRETER), str(folder / "flood.py"), "{repo}", what],
            "mounts": [str(folder)],
            "base_url": url,
            "patience_seconds": 600,
            **price,
        },
    }
    path = world.home / FILE_NAME
    text = path.read_text().partition("\n[model]")[0]
    for name, table in tables.items():
        text += f"\n[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
    path.write_text(text)


@pytest.fixture
def world(largest_world: World, tmp_path: Path) -> World:
    return largest_world.copy(tmp_path / "home")


@pytest.mark.parametrize(
    "what",
    ["calls", pytest.param("replays", marks=pytest.mark.soak), pytest.param("both", marks=pytest.mark.soak)],
)
def test_no_flood_costs_more_than_the_cap(world: World, tmp_path: Path, what: str) -> None:
    with endpoint() as (url, till):
        configure(
            world,
            tmp_path / "told",
            url,
            what,
            usd_micros_per_million_input=INPUT,
            usd_micros_per_million_output=OUTPUT,
        )
        ended = play(world, ["flood"], "--max-usd", "0.50")
    assert not ended.offered
    assert CAP / 5 < till.served <= CAP, (till.served, till.calls)
    assert till.unbounded == []
    assert ended.run["usd_micros"] <= CAP
    assert till.served <= ended.run["usd_micros"]  # no call is told cheaper than it was


def test_a_model_without_a_price_is_refused_before_anything_is_asked(world: World, tmp_path: Path) -> None:
    with endpoint() as (url, till):
        configure(world, tmp_path / "told", url, "calls")
        start = (
            "run",
            "start",
            world.batch("largest"),
            "--coder",
            "flood",
            "--max-usd",
            "0.50",
            "--reason",
            "why not",
        )
        error = world.refused(2, "bad_input", *start)
    assert "what it costs" in error["message"]
    assert "usd_micros_per_million_input" in error["hint"]
    assert (world.ok("run", "list"), till.calls) == ([], 0)
