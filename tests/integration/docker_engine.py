"""A Docker Engine for the tests: the one that answers, else our own, started where we are root."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from containers_tiny import until

from containers.docker_options import DockerOptions

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / ".venv" / "docker-base.tar"
"""Made by `make engine`."""
NAME = "evolve-test-base"
STANDARD = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


@contextmanager
def running_engine(folder: Path) -> Iterator[DockerOptions]:
    """With the base image in it. Skips, or fails in CI, where there can be none."""
    if _answers(STANDARD):
        yield _with_base(STANDARD)
        return
    with own_engine(folder) as engine:
        yield engine.options


@contextmanager
def own_engine(folder: Path, *, empty: bool = False) -> Iterator["OwnEngine"]:
    """One that a test may stop, kill and start again, with the base image in it or `empty`. `folder`: short, for a unix
    socket lies in it."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        _missing("no Docker Engine answers, and only root can start one (apt-get install docker.io)")
    engine = OwnEngine(folder)
    engine.start()
    try:
        if not empty:
            engine.options = _with_base(engine.host)
        yield engine
    finally:
        engine.stop()


class OwnEngine:
    """A dockerd in a folder of its own, without networks."""

    options: DockerOptions

    def __init__(self, folder: Path) -> None:
        self.folder, self.host = folder, f"unix://{folder}/s"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        f = self.folder
        command = ["dockerd", "--data-root", f"{f}/d", "--exec-root", f"{f}/e", "--host", self.host]
        command += ["--pidfile", f"{f}/p", "--bridge", "none", "--iptables=false", "--ip-masq=false"]
        with (f / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        if not until(lambda: _answers(self.host), 60):
            _missing(f"dockerd did not start: {(f / 'log').read_text()[-500:]}")

    def kill(self) -> None:
        """At once; its containers are left to whoever comes next."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)
        # Where the first process reaps no orphans, a dead containerd still counts as running.
        for left in ("p", "e/containerd/containerd.pid"):
            (self.folder / left).unlink(missing_ok=True)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(60)
        # One that was killed left containers' keepers and mounts behind.
        subprocess.run(["pkill", "--full", f"containerd-shim.*{self.folder}/"], check=False)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (point := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", point], check=False)


def _answers(host: str) -> bool:
    """Asked by hand: the library leaves a socket open for each try that fails."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        try:
            link.connect(host.removeprefix("unix://"))
            link.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return b"200 OK" in link.recv(4096)
        except OSError:
            return False


def _with_base(host: str) -> DockerOptions:
    if not ARCHIVE.exists():
        _missing("no base image: `make engine` as root makes one")
    with contextlib.closing(docker.DockerClient(host, timeout=120)) as client:
        if not client.images.list(NAME):
            client.api.import_image_from_file(str(ARCHIVE), repository=NAME)
    return DockerOptions(base_image=NAME, host=host)


def _missing(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
