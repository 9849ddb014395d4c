"""A small service for the engine's tests: standard library only, one unix socket, state in one file."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from containers.bubblewrap import BubblewrapRuntime
from containers.engine import get_runtime
from containers.runtime import ImageRef
from containers.shard import Shard
from containers.substrate import SubstrateManifest

SERVICE = """
import http.server, json, os, signal, socketserver, subprocess, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "unix"
    def log_message(self, *arguments):
        pass
    def do_GET(self):
        self.answer({"env": dict(os.environ), "uid": os.getuid(), "pid": os.getpid(), "count": count()})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        space = {"os": os, "subprocess": subprocess, "sys": sys, "time": time}
        exec(body["code"], space)
        self.answer({"result": space.get("result")})
    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

def count():
    path = os.environ["STATE_DIR"] + "/count"
    value = int(open(path).read()) + 1 if os.path.exists(path) else 1
    with open(path, "w") as file:
        file.write(str(value))
    return value

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

def main():
    if os.environ.get("MODEL_NAME") == "broken":
        print("cannot go on", flush=True)
        raise SystemExit(3)
    if os.path.exists(os.environ["AGENT_SOCKET"]):
        os.unlink(os.environ["AGENT_SOCKET"])
    server = Server(os.environ["AGENT_SOCKET"], Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    print("drained", flush=True)

if __name__ == "__main__":
    main()
"""
MANIFEST = SubstrateManifest(
    name="tiny", command=("python", "-m", "service"), preload=("http.server",), editable=("*.py",)
)


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("unix", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def ask(path: Path, code: str | None = None) -> dict[str, Any]:
    connection = UnixConnection(path)
    try:
        if code is None:
            connection.request("GET", "/")
        else:
            connection.request("POST", "/", json.dumps({"code": code}))
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def make_tree(folder: Path, service: str = SERVICE) -> Path:
    folder.mkdir(parents=True)
    (folder / "service.py").write_text(service)
    return folder


def build_tiny(home: Path, tree: Path) -> tuple[BubblewrapRuntime, ImageRef]:
    runtime = get_runtime("bubblewrap", home)
    return runtime, runtime.build(make_tree(tree), MANIFEST)


@contextmanager
def shard(runtime: BubblewrapRuntime, image: ImageRef, work: Path, **more: Any) -> Iterator[Shard]:
    name = f"shard-{os.urandom(4).hex()}"
    labels = {"t": "1"}
    with Shard(
        runtime, image, MANIFEST, name=name, labels=labels, workdir=work, gateway_dir=None, **more
    ) as one:
        yield one


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def environment(**more: str) -> Mapping[str, str]:
    return {"MODEL_NAME": "m", **more}
