"""A substrate as its own process on a unix socket, and a client that speaks to it as the edge does."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).parents[2]


@dataclass
class Service:
    process: subprocess.Popen[bytes]
    http: httpx2.Client
    state: Path
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def turn(
        self,
        text: str,
        *,
        session: str = "s1",
        request_id: str | None = None,
        clock: float = 1700000000.5,
        **body: Any,
    ) -> httpx2.Response:
        name = request_id or f"r{next(self.numbers)}"
        headers = {"x-request-id": name, "x-session": session, "x-turn-clock": str(clock)}
        messages = [{"role": "user", "content": text}]
        return self.http.post("/v1/chat/completions", json={"messages": messages, **body}, headers=headers)

    def says(self, text: str, **more: Any) -> str:
        response = self.turn(text, **more)
        assert response.status_code == 200, response.text
        return str(response.json()["choices"][0]["message"]["content"])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextmanager
def service(folder: Path, module: str, root: Path = ROOT, **env: str) -> Iterator[Service]:
    path = folder / "agent.sock"
    told = {
        "AGENT_SOCKET": str(path),
        "STATE_DIR": str(folder / "state"),
        "INSTANCE_EPOCH": "3",
        "IMAGE_DIGEST": "sha256:00",
        "BOOT_NONCE": "nonce",
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = subprocess.Popen([sys.executable, "-m", module], cwd=root, env=told | env)
    transport = httpx2.HTTPTransport(uds=str(path))
    with httpx2.Client(transport=transport, base_url="http://agent", timeout=30) as http:
        try:
            wait_until_ready(process, http, path)
            yield Service(process, http, folder / "state")
        finally:
            process.kill()
            process.wait()


def accepts_connections(path: Path) -> bool:
    """By hand: a failed connection of the HTTP client leaves its socket to the garbage collector."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until_ready(process: subprocess.Popen[bytes], http: httpx2.Client, path: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the service ended with {process.returncode}"
        if accepts_connections(path) and http.get("/readyz").json()["ready"]:
            return
        time.sleep(0.02)
    raise AssertionError("the service never became ready")
