"""Sending one recorded turn to a service and taking whatever comes back. Whatever that is, it is data."""

import contextlib
import http.client
import io
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evidence.cases import RecordedTurn
from trial.gateway import unixpath, wire

MAX_REPLY = 10 << 20
_CLIENTS = (
    "",
    "python-httpx/0.28.1",
    "OpenAI/Python 1.99.1",
    "curl/8.5.0",
    "node",
    "Mozilla/5.0 (X11; Linux x86_64)",
)
"""Users' clients differ, and some do not say what they are."""
_FOLLOWS_WITHIN = 0.003
"""Seconds that a turn waits at its end for what its service may send behind the reply."""
Hold = Callable[[Callable[[], None]], None]
"""Calls what it is given, in its time, in whichever thread."""


@dataclass(frozen=True)
class ReplayedTurn:
    """One turn as the service answered it in a replay."""

    request_id: str
    status: int | None
    """None: no whole answer came; `error` says why."""
    reply: object = None
    """Parsed JSON, text when it was none, or for a stream the list of its data frames."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    latency: float = 0.0
    error: str = ""
    followed: bool = False
    """More came behind the reply on its connection: whoever keeps that takes it for the next request's answer."""


class _Stream(io.BufferedReader):
    """Outlives its response, which would else drop what it has read ahead."""

    def close(self) -> None:
        """Called by the response as soon as that is whole. What is below ends with this object."""


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, method="POST")
        self._sock = sock
        self._stream = self.fp = _Stream(self.fp.detach())

    def is_followed(self) -> bool:
        """Whether anything stands behind the whole reply, or comes within a moment."""
        self._sock.settimeout(_FOLLOWS_WITHIN)
        try:
            return self.isclosed() and bool(self._stream.peek(1))
        except OSError:
            return False


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("agent", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        unixpath.connect(self.sock, self._path)


class Stop:
    """Ends a replay from another thread: what waits for an answer stops waiting, and nothing more is
    asked."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[http.client.HTTPConnection] = set()

    def set(self) -> None:
        self._event.set()
        with self._lock:
            for connection in self._connections:
                _hang_up(connection)

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    @contextmanager
    def watching(self, connection: http.client.HTTPConnection) -> Iterator[None]:
        with self._lock:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)


class _Deadline:
    """Ends a connection that is still busy after `seconds`: a reply that drips must not last for ever."""

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        _hang_up(self._connection)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):  # it may have ended by itself just now
            sock.shutdown(socket.SHUT_RDWR)


def _held(connection: http.client.HTTPConnection, data: bytes, hold: Hold | None) -> Iterator[bytes]:
    half = len(data) // 2 if hold else len(data)
    yield data[:half]
    if hold is not None:
        hold(lambda: connection.send(data[half:]))


def get_json(agent: Path, path: str, seconds: float) -> object | None:
    """What the service answers with 200 to a GET; None when it does not."""
    connection = _UnixConnection(agent, seconds)
    try:
        with _Deadline(connection, seconds):
            connection.connect()
            connection.request("GET", path)
            response = connection.getresponse()
            raw = response.read(MAX_REPLY)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return _parse("", raw) if response.status == 200 else None


def send_turn(
    agent: Path,
    turn: RecordedTurn,
    request_id_header: str,
    seconds: float,
    stop: Stop,
    hold: Hold | None = None,
) -> ReplayedTurn:
    """POST the turn with the headers that production's edge sets. Never raises for what the service does. `hold`: who
    sends the rest when half of the request is sent."""
    data = json.dumps(turn.body).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(data)),
        request_id_header: turn.request_id,
        "x-turn-clock": f"{turn.started:.6f}",
        "connection": "close",
    }
    if client := _CLIENTS[zlib.crc32(turn.request_id.encode()) % len(_CLIENTS)]:
        headers["user-agent"] = client
    if turn.session:
        headers["x-session"] = turn.session
    latency, followed = 0.0, False
    began = time.monotonic()
    connection = _UnixConnection(agent, seconds)
    try:
        with stop.watching(connection), _Deadline(connection, seconds) as deadline:
            try:
                connection.connect()
                if stop.is_set():
                    raise ConnectionAbortedError("stopped")
                # It may have answered before it had read all.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.request("POST", turn.path, _held(connection, data, hold), headers)
                response = _Response(connection.sock)
                response.begin()
                raw = response.read(MAX_REPLY + 1)
                latency = time.monotonic() - began
                followed = response.is_followed()
                error = f"the reply is larger than {MAX_REPLY} bytes" if len(raw) > MAX_REPLY else ""
            except TimeoutError:
                error = f"no whole answer within {seconds:g} s"
            except (OSError, ValueError, http.client.HTTPException) as failure:
                error = f"no whole answer: {type(failure).__name__} {failure}".strip()
            if deadline.passed:
                error = f"no whole answer within {seconds:g} s"
    finally:
        connection.close()
    if error:
        return ReplayedTurn(turn.request_id, None, latency=time.monotonic() - began, error=error)
    given = {name.lower(): value for name, value in response.getheaders()}
    reply = _parse(given.get("content-type", ""), raw)
    return ReplayedTurn(turn.request_id, response.status, reply, given, latency, followed=followed)


def _parse(content_type: str, raw: bytes) -> object:
    if content_type.startswith("text/event-stream"):
        splitter = wire.FrameSplitter()
        frames = [*splitter.feed(raw), splitter.rest()]
        parsed = [wire.parse_frame(frame) for frame in frames if frame.strip()]
        return [frame["data"] for frame in parsed if "data" in frame]
    try:
        return json.loads(raw.decode(), object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Of a name that stands there twice, readers take different ones."""
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found
