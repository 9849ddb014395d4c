"""Is it really this instance, and does it really work? Asked of its own socket, never through the edge.

Identity is digest, epoch and the nonce of this very start: on `/readyz`, and in a heartbeat that moves. A
port that answers, or a heartbeat that another instance left behind, proves nothing.
"""

import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from containers.substrate import Canary, SubstrateManifest
from evidence.canonical import new_id
from promote.records import Live
from promote.settings import Timing
from promote.wire import address

_POLL = 0.03
_BEAT_WINDOW = 3.0


class ProbeFailed(Exception):
    """The instance is not this one, or not healthy."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("agent", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with address(self._path) as name:
            self.sock.connect(name)


def ask(
    path: Path,
    method: str,
    target: str,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 5.0,
) -> tuple[int, bytes]:
    """One HTTP request over a unix socket. Raises OSError or http.client.HTTPException."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", **(headers or {})}
    with closing(_UnixConnection(path, timeout)) as link:
        link.request(method, target, body=data, headers=sent)
        answer = link.getresponse()
        return answer.status, answer.read()


def alive(path: Path, manifest: SubstrateManifest, timeout: float = 5.0) -> bool:
    """Whether the service answers at all."""
    try:
        return ask(path, "GET", manifest.liveness, timeout=timeout)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def beats(run_dir: Path, live: Live) -> bool:
    """Whether PID 1 of exactly this start writes heartbeats now: the stamp must move while we look. On a busy machine the
    service may be ready before the first one is written."""
    stamps: set[float] = set()
    end = time.monotonic() + _BEAT_WINDOW
    while time.monotonic() < end:
        stamp = _beat(run_dir, live)
        if stamp is not None:
            stamps.add(stamp)
        if len(stamps) == 2:
            return True
        time.sleep(_POLL)
    return False


def _beat(run_dir: Path, live: Live) -> float | None:
    try:
        beat = json.loads((run_dir / "heartbeat.json").read_bytes())
        said = (str(beat["digest"]), int(beat["epoch"]), str(beat["boot_nonce"]), bool(beat["child_alive"]))
        stamp = float(beat["ts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stamp if said == (live.digest, live.epoch, live.boot_nonce, True) else None


def wait_ready(
    path: Path, manifest: SubstrateManifest, live: Live, timing: Timing, running: Callable[[], bool]
) -> None:
    """Until this very start says that it is ready. Raises ProbeFailed."""
    end = time.monotonic() + timing.boot_seconds
    why = "it never answered"
    while time.monotonic() < end:
        try:
            status, body = ask(path, "GET", manifest.readiness, timeout=timing.boot_seconds)
            why = f"{manifest.readiness} answered {status}"
            if status == 200:
                _check_identity(body, live)
                break
        except (OSError, http.client.HTTPException) as error:
            why = f"{manifest.readiness}: {type(error).__name__}"
        if not running():
            raise ProbeFailed("the instance ended before it was ready")
        time.sleep(_POLL)
    else:
        raise ProbeFailed(f"not ready within {timing.boot_seconds:g} s: {why}")
    if not beats(path.parent, live):
        raise ProbeFailed("no moving heartbeat of this start (digest, epoch, boot nonce)")


def _check_identity(body: bytes, live: Live) -> None:
    """A service that says who it is must say the truth; one that doesn't is known by its heartbeat alone."""
    try:
        said = json.loads(body)
    except ValueError:
        return
    if not isinstance(said, dict):
        return
    for name, value in (("digest", live.digest), ("epoch", live.epoch), ("boot_nonce", live.boot_nonce)):
        if name in said and str(said[name]) != str(value):
            raise ProbeFailed(f"readiness says {name} {said[name]!r}, expected {value!r}")


def probe(
    path: Path, manifest: SubstrateManifest, live: Live, timing: Timing, running: Callable[[], bool]
) -> int:
    """Ready, then `probe_passes` rounds of all canaries in a row. Returns the canary turns that ran."""
    end = time.monotonic() + timing.probe_window
    wait_ready(path, manifest, live, timing, running)
    turns = 0
    for number in range(timing.probe_passes):
        if number:
            time.sleep(timing.probe_interval)
        if time.monotonic() > end:
            raise ProbeFailed(f"not healthy within {timing.probe_window:g} s")
        turns += _round(path, manifest, timing.turn_seconds)
    return turns


def _round(path: Path, manifest: SubstrateManifest, seconds: float) -> int:
    """All canaries in one session with a fresh nonce; the session is deleted whatever happened."""
    nonce = new_id()
    session = f"probe-{new_id()}"  # an id that holds the nonce would come back in replies and pass by itself
    try:
        for number, canary in enumerate(manifest.canaries):
            _turn(path, canary, nonce, session, f"{session}-{number}", manifest.request_id_header, seconds)
    finally:
        _delete(path, manifest, session)
    return len(manifest.canaries)


def _turn(
    path: Path, canary: Canary, nonce: str, session: str, request_id: str, id_header: str, seconds: float
) -> None:
    headers = {id_header: request_id, "x-session": session, "x-turn-clock": f"{time.time():.6f}"}
    body = json.loads(json.dumps(canary.body).replace("{nonce}", nonce))
    expected = canary.expect.replace("{nonce}", nonce)
    try:
        status, reply = ask(path, "POST", canary.path, body=body, headers=headers, timeout=seconds)
    except (OSError, http.client.HTTPException) as error:
        raise ProbeFailed(f"canary turn: {type(error).__name__}: {error}") from None
    if status != 200:
        raise ProbeFailed(f"canary turn: {status} {reply[:200]!r}")
    if expected not in _text(reply):
        raise ProbeFailed(f"canary turn: the reply lacks {canary.expect!r}: {reply[:200]!r}")


def _text(reply: bytes) -> str:
    """The reply as it is and, where it is JSON, with its escapes resolved."""
    raw = reply.decode("utf-8", "replace")
    try:
        return raw + json.dumps(json.loads(raw), ensure_ascii=False)
    except ValueError:
        return raw


def _delete(path: Path, manifest: SubstrateManifest, session: str) -> None:
    if manifest.delete_session is None:
        return
    target = manifest.delete_session.replace("{session}", session)
    try:
        status, _ = ask(path, "DELETE", target)
    except (OSError, http.client.HTTPException) as error:
        raise ProbeFailed(f"the probe's session could not be deleted: {type(error).__name__}") from None
    if status >= 500:
        raise ProbeFailed(f"the probe's session could not be deleted: {status}")
