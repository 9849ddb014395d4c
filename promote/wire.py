"""One line of JSON there, one line back, over a unix socket: how the parts of the promoter speak.

`address` works around the 107 bytes that a unix socket's path may have: a path through /proc/self/fd is short
wherever the socket lies.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

MAX_LINE = 4 << 20


class Unreachable(Exception):
    """Nobody answers on this socket."""


class Refused(Exception):
    """The other side answered that it will not; `kind` is one word for programs."""

    def __init__(self, message: str, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


@contextmanager
def address(path: Path) -> Iterator[str]:
    """A name for the socket at `path` that is short enough to connect or bind to."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def call(path: Path, op: str, timeout: float = 10.0, **arguments: object) -> dict[str, object]:
    """Ask once. Raises Unreachable or Refused."""
    line = json.dumps({"op": op, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout)
            with address(path) as name:
                link.connect(name)
            link.sendall(line)
            answer = _read_line(link)
    except OSError as error:
        raise Unreachable(f"{path}: {error}") from None
    if not answer:
        raise Unreachable(f"{path}: closed without an answer")
    try:
        reply = dict(json.loads(answer))
    except (ValueError, TypeError):
        raise Unreachable(f"{path}: whoever answers there speaks something else") from None
    if "error" in reply:
        raise Refused(str(reply["error"]), str(reply.get("kind", "refused")))
    return reply


def complaint(error: OSError | ValidationError) -> str:
    """One line for people: what is wrong with what a process was told, or with the machine."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def encode(reply: Mapping[str, object]) -> bytes:
    return json.dumps(reply).encode() + b"\n"


def _read_line(link: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= MAX_LINE:
        part = link.recv(65536)
        parts.append(part)
        size += len(part)
        if not part or part.endswith(b"\n"):
            break
    return b"".join(parts)
