"""Services behind an edge that is tried by itself."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from promote_kinds import TINY
from promote_rig import Rig, until

from promote.gate import Target


class Tiny:
    """The tiny substrate as a plain process: what is tried here is the edge."""

    def __init__(self, folder: Path, epoch: int, tree: Path = TINY) -> None:
        self.socket = folder / f"agent-{epoch}.sock"
        self.epoch = epoch
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(tree),
            "AGENT_SOCKET": str(self.socket),
            "STATE_DIR": str(folder / "state"),
            "INSTANCE_EPOCH": str(epoch),
        }
        self.process = subprocess.Popen([sys.executable, "-m", "service"], env=env, cwd=tree)
        until(self._answers, 60.0)

    def _answers(self) -> bool:
        with closing(socket.socket(socket.AF_UNIX)) as link:
            link.connect(str(self.socket))
        return True

    @property
    def target(self) -> Target:
        return Target(str(self.socket), self.epoch, "sha256:tiny")

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait()


class Scripted:
    """A service on a unix socket that shows what reached it and answers what it is told to."""

    def __init__(self, path: Path, answer: Callable[[socket.socket, bytes], None]) -> None:
        self.seen: list[bytes] = []
        self._answer = answer
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(16)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            link, _ = self._server.accept()
            with link:
                request = link.recv(1 << 20)
                if not request:
                    return
                self.seen.append(request)
                self._answer(link, request)

    def close(self, path: Path) -> None:
        with closing(socket.socket(socket.AF_UNIX)) as link:
            link.connect(str(path))
            link.shutdown(socket.SHUT_WR)
            self._thread.join()
        self._server.close()


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def send(
    rig: Rig, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)) as link:
        link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = link.getresponse()
        return answer.status, answer.msg, answer.read()
