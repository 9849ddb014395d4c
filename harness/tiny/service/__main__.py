"""The tiny substrate: the whole service contract in the standard library, booting in a tenth of a second.

It keeps, per session, the append-only list of request ids that it applied, and tells the count in every
reply: a request that was lost, doubled or put out of order by a swap can be seen from outside.
"""

import json
import os
import signal
import socket
import socketserver
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from .state import SCHEMA, EventLog, Store, ulid
from .turns import Agent, BadRequest, Gateway

MAX_BODY = 1 << 20
PIECE = 16
"""Characters in one event of a stream."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: events are the log."""

    def send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        about = {"content-type": "application/json"} | (headers or {})
        self.begin(status, about | {"content-length": str(len(data))})
        self.wfile.write(data)

    def stream(self, events: list[bytes], headers: dict[str, str]) -> None:
        """In chunks, so that a stream that was cut lacks its end."""
        about = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        self.begin(200, about | headers)
        for event in events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.draining:
            self.send_header("connection", "close")
            self.close_connection = True
        self.end_headers()

    def refuse(self, status: int, message: str) -> None:
        self.close_connection = True
        self.send(status, {"error": {"message": message, "type": "bad_request"}}, {"connection": "close"})

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.send(200, {"ok": True})
        elif self.path == "/readyz":
            self.send(503 if self.server.draining else 200, {"ready": not self.server.draining} | identity())
        elif self.path == "/inflight":
            self.send(200, {"inflight": self.server.inflight})
        elif self.path.startswith("/v1/sessions/"):
            applied = self.server.agent.store.applied(self.path.rpartition("/")[2])
            self.send(200, {"count": len(applied), "applied": applied})
        else:
            self.refuse(404, f"no {self.path} here")

    def do_DELETE(self) -> None:
        session = self.path.rpartition("/")[2]
        if self.path != f"/v1/sessions/{session}" or not session:
            return self.refuse(404, f"no {self.path} here")
        return self.send(200, {"deleted": self.server.agent.store.delete(session), "session": session})

    def do_POST(self) -> None:
        self.server.count(+1)
        try:
            self.post(self.body())
        except BadRequest as error:
            self.refuse(400, str(error))
        finally:
            self.server.count(-1)

    def post(self, body: dict[str, object]) -> None:
        if self.path == "/v1/feedback":
            return self.feedback(body)
        if self.path != "/v1/chat/completions":
            return self.refuse(404, f"no {self.path} here")
        request_id = self.headers.get("x-request-id") or ulid()
        session = self.headers.get("x-session") or f"s-{request_id}"
        clock = self.clock()
        passed = self.last_event()
        if passed and self.server.agent.store.reply(request_id) is None:
            return self.refuse(
                409, "no stream of this request is known: last-event-id names none of its events"
            )
        status, reply = self.server.agent.handle(self.path, body, session, request_id, clock)
        headers = {"x-session": session, "x-request-id": request_id}
        if body.get("stream") and status == 200:
            return self.stream(frames(reply)[passed:], headers)
        return self.send(status, reply, headers)

    def clock(self) -> float:
        try:
            return float(self.headers.get("x-turn-clock") or time.time())
        except ValueError:
            raise BadRequest("x-turn-clock is not a number of seconds") from None

    def last_event(self) -> int:
        """How many events of this stream the client has from an earlier connection."""
        number = self.headers.get("last-event-id") or "0"
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise BadRequest("last-event-id is not the number of an event")
        return int(number)

    def feedback(self, body: dict[str, object]) -> None:
        target, rating = body.get("request_id"), body.get("rating")
        if not isinstance(target, str) or rating not in ("up", "down"):
            raise BadRequest("feedback needs request_id and a rating, up or down")
        if self.server.agent.store.reply(target) is None:
            return self.refuse(404, f"no turn {target}")
        events = self.server.agent.events
        events.emit(
            "feedback", "", "", 0, target=target, rating=rating, comment=str(body.get("comment") or "")
        )
        events.sync()
        return self.send(200, {"recorded": True})

    def body(self) -> dict[str, object]:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise BadRequest(f"a body with a content-length of at most {MAX_BODY} is needed")
        try:
            parsed = json.loads(self.rfile.read(int(length)))
        except ValueError:
            raise BadRequest("the body is not JSON") from None
        if not isinstance(parsed, dict):
            raise BadRequest("the body is not a JSON object")
        return parsed


def frames(reply: dict[str, object]) -> list[bytes]:
    """The reply as server-sent events, numbered from 1: the text in pieces, then its end."""
    choice = reply["choices"][0]  # type: ignore[index]
    chunk = {k: v for k, v in reply.items() if k not in ("choices", "usage")} | {
        "object": "chat.completion.chunk"
    }
    message = choice["message"]
    text = message["content"]
    first, *others = [text[start : start + PIECE] for start in range(0, len(text), PIECE)] or [""]
    deltas = [{"index": 0, "delta": message | {"content": first}, "finish_reason": None}]
    deltas += [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in others]
    deltas.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    lines = [json.dumps(chunk | {"choices": [delta]}) for delta in deltas]
    numbered = enumerate([*lines, "[DONE]"], start=1)
    return [f"id: {number}\ndata: {line}\n\n".encode() for number, line in numbered]


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread a connection. `drain` answers what has arrived and takes nothing new."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self, path: str, agent: Agent) -> None:
        self.agent = agent
        self.inflight, self.draining = 0, False
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        if os.path.exists(path):
            os.unlink(path)
        super().__init__(path, Handler)

    def count(self, step: int) -> None:
        with self.lock:
            self.inflight += step

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.lock:
            self.connections.discard(request)
        super().shutdown_request(request)

    def drain(self) -> None:
        """After `serve_forever` returned."""
        self.draining = True
        self.socket.setblocking(False)
        while True:
            try:
                request, address = self.get_request()
            except BlockingIOError:
                break
            self.process_request(request, address)
        with self.lock:
            waiting = list(self.connections)
        for connection in waiting:
            try:
                connection.shutdown(socket.SHUT_RD)  # what has arrived is still read, then comes the end
            except OSError:
                continue
        self.server_close()


def identity() -> dict[str, object]:
    env = os.environ
    return {
        "digest": env.get("IMAGE_DIGEST", ""),
        "epoch": int(env.get("INSTANCE_EPOCH") or 0),
        "boot_nonce": env.get("BOOT_NONCE", ""),
    }


def open_store(state: Path) -> Store:
    state.mkdir(parents=True, exist_ok=True)
    store = Store(state / "state.db")
    store.migrate()
    return store


def self_test(state: Path) -> int:
    """0 when this tree can read and write the state directory."""
    store = open_store(state)
    verdict = store.db.execute("PRAGMA integrity_check").fetchone()[0]
    gaps = store.db.execute(
        "SELECT session FROM applied GROUP BY session HAVING max(position) != count(*)"
    ).fetchall()
    store.db.close()
    print(json.dumps({"schema": SCHEMA, "integrity": verdict, "gaps": [row[0] for row in gaps]}))
    return 0 if verdict == "ok" and not gaps else 1


def serve(state: Path, path: str) -> int:
    store = open_store(state)
    events = EventLog(state / "events.jsonl")
    gateway = os.environ.get("GATEWAY_SOCKET")
    server = Server(path, Agent(store, events, Gateway(gateway) if gateway else None))
    # `shutdown` waits for the loop that the signal interrupted, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    events.emit("process_started", "", "", 0, **identity())
    events.sync()
    server.serve_forever(poll_interval=0.05)
    server.drain()
    events.emit("process_stopped", "", "", 0)
    events.sync()
    store.db.close()
    return 0


def main(arguments: list[str]) -> int:
    state = Path(os.environ.get("STATE_DIR", "state"))
    try:
        if arguments == ["--self-test"]:
            return self_test(state)
        if arguments == ["--migrate"]:
            open_store(state).db.close()
            return 0
        if not arguments and "AGENT_SOCKET" in os.environ:
            return serve(state, os.environ["AGENT_SOCKET"])
    except (OSError, sqlite3.Error, RuntimeError) as error:
        print(f"tiny: {error}", file=sys.stderr)
        return 1
    print("usage: AGENT_SOCKET=… STATE_DIR=… python -m service [--self-test | --migrate]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
