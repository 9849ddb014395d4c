"""A loopback port inside a sandbox that leads to a unix socket on the host, on both engines."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from containers.docker_options import DockerOptions
from containers.engine import get_runtime
from containers.runtime import InstanceSpec, Limits, Mount, Runtime

ECHO = r"""
import socket, sys
def talk(data):
    with socket.create_connection(("127.0.0.1", 8080), timeout=30) as c:
        c.sendall(data)
        c.shutdown(socket.SHUT_WR)
        got = b""
        while part := c.recv(65536):
            got += part
    return got
big = b"x" * (5 << 20)
print(talk(b"hello"), talk(big) == big, [talk(b"%d" % n) for n in range(100)] == [b"%d" % n for n in range(100)])
kept = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(60)]
print(talk(b"beside sixty idle ones"))
"""


@contextmanager
def echo(path: Path) -> Iterator[None]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(65536):
                self.request.sendall(data)

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(str(path), Handler) as server:
        path.chmod(0o666)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def run(runtime: Runtime, folder: Path, code: str, **how: object) -> tuple[int | None, str]:
    given = {"argv": ("python", "-c", code), "forwards": {8080: "/run/gateway/s"}, **how}
    spec = InstanceSpec(
        name="forwarding",
        role="coder",
        mounts=(Mount(folder, "/run/gateway"),),
        limits=Limits(wall_seconds=60),
        workdir="/",
        **given,  # type: ignore[arg-type]
    )
    instance = runtime.start(None, spec)
    try:
        return instance.wait(90), runtime.logs(instance)
    finally:
        runtime.kill(instance)
        runtime.remove(instance)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "g"
    made.mkdir()
    return made


def test_bytes_go_through_unchanged(tmp_path: Path, folder: Path, engine: DockerOptions | None) -> None:
    runtime = get_runtime("auto", tmp_path / "home", engine)
    with echo(folder / "s"):
        code, said = run(runtime, folder, ECHO)
    assert (code, said.splitlines()) == (0, ["b'hello' True True", "b'beside sixty idle ones'"])
    code, said = run(runtime, folder, ECHO)  # nobody listens outside
    assert code == 0 or "Error" in said
    assert runtime.find({}) == []


def test_the_forwarder_sees_no_more_than_what_it_serves(tmp_path: Path, folder: Path) -> None:
    code = r"""
import os
for pid in (p for p in os.listdir("/proc") if p.isdecimal() and int(p) not in (1, os.getpid())):
    status = open(f"/proc/{pid}/status").read()
    print({n: status.split(n + ":")[1].split()[0] for n in ("Uid", "CapEff", "NoNewPrivs", "Seccomp")} |
          {"me": os.getuid() == int(status.split("Uid:")[1].split()[0])})
try:
    open("/proc/2/mem", "rb")
except OSError as error:
    print(type(error).__name__)
"""
    _, said = run(get_runtime("bubblewrap", tmp_path / "home"), folder, code)
    first, second = said.splitlines()
    assert all(part in first for part in ("'CapEff': '0000000000000000'", "'NoNewPrivs': '1'", "'me': True"))
    assert second == "PermissionError"
