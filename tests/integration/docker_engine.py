"""A Docker Engine for the tests: the one that answers, else our own, started where we are root."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from containers_tiny import accepts, until

from containers.docker_options import DockerOptions

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / ".venv" / "docker-base.tar"
"""Made by `make engine`."""
NAME = "evolve-test-base"
STANDARD = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


@contextmanager
def running_engine(folder: Path) -> Iterator[DockerOptions]:
    """With the base image in it. Skips, or fails in CI, where there can be none."""
    if not ARCHIVE.exists():
        _missing("no base image: `make engine` as root makes one")
    if _answers(STANDARD):
        yield _with_base(STANDARD)
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        _missing("no Docker Engine answers, and only root can start one (apt-get install docker.io)")
    socket = f"unix://{folder}/s"
    command = ["dockerd", "--data-root", f"{folder}/d", "--exec-root", f"{folder}/e", "--host", socket]
    command += ["--pidfile", f"{folder}/p", "--bridge", "none", "--iptables=false", "--ip-masq=false"]
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        if not until(lambda: _answers(socket), 60):
            _missing(f"dockerd did not start: {(folder / 'log').read_text()[-500:]}")
        yield _with_base(socket)
    finally:
        engine.terminate()
        engine.wait(60)


def _answers(host: str) -> bool:
    """Looked at by hand first: the library leaves a socket open for each try that fails."""
    if not accepts(Path(host.removeprefix("unix://"))):
        return False
    with contextlib.closing(docker.DockerClient(host, timeout=5)) as client:
        return bool(client.ping())


def _with_base(host: str) -> DockerOptions:
    with contextlib.closing(docker.DockerClient(host, timeout=120)) as client:
        if not client.images.list(NAME):
            client.api.import_image_from_file(str(ARCHIVE), repository=NAME)
    return DockerOptions(base_image=NAME, host=host)


def _missing(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
