"""A small service for the engine's tests: standard library only, one unix socket, state in one file."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from containers.docker_engine import DockerRuntime
from containers.docker_options import DockerOptions
from containers.engine import get_runtime
from containers.runtime import ImageRef, Instance, InstanceSpec, Mount, Runtime
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
        super().__init__("unix", timeout=60)
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


def build_tiny(home: Path, tree: Path, docker: DockerOptions | None = None) -> tuple[Runtime, ImageRef]:
    runtime = get_runtime("auto", home, docker)
    return runtime, runtime.build(make_tree(tree), MANIFEST)


def another(runtime: Runtime) -> Runtime:
    """As a second process would have it."""
    options = runtime.options if isinstance(runtime, DockerRuntime) else None
    return get_runtime("auto", runtime.home, options)


@contextmanager
def shard(runtime: Runtime, image: ImageRef, work: Path, **more: Any) -> Iterator[Shard]:
    name = f"shard-{os.urandom(4).hex()}"
    labels = {"t": "1"}
    with Shard(
        runtime, image, MANIFEST, name=name, labels=labels, workdir=work, gateway_dir=None, **more
    ) as one:
        yield one


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def environment(**more: str) -> Mapping[str, str]:
    return {"MODEL_NAME": "m", **more}


def generation(folder: Path, owner: str = "5") -> tuple[Mount, ...]:
    for name in ("data", "ctl", "agent"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "ctl" / ".owner").write_text(owner)
    (folder / "ctl" / ".lock").touch(mode=0o644)
    return (
        Mount(folder / "data", "/state", writable=True),
        Mount(folder / "ctl", "/ctl"),
        Mount(folder / "agent", "/run/agent", writable=True),
    )


def service(name: str, mounts: tuple[Mount, ...], epoch: str = "5") -> InstanceSpec:
    env = {
        "AGENT_SOCKET": "/run/agent/agent.sock",
        "STATE_DIR": "/state",
        "INSTANCE_EPOCH": epoch,
        "BOOT_NONCE": "nonce",
    }
    return InstanceSpec(
        name=name,
        role="live",
        argv=("@serve",),
        env=env,
        mounts=mounts,
        labels={"swap": "s"},
        survives_caller=True,
    )


def bare(code: str, name: str = "bare", **more: object) -> InstanceSpec:
    spec = InstanceSpec(name=name, role="grader", argv=("python", "-I", "-S", "-c", code), workdir="/")
    return replace(spec, **more)  # type: ignore[arg-type]


def discard(runtime: Runtime, *instances: Instance) -> None:
    for instance in instances:
        runtime.kill(instance)
        runtime.remove(instance)
