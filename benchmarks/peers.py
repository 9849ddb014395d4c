"""Stand-ins for `containers.shard.Shard` that isolate otherwise or not at all, for `trial.replay.replay_case`.

Both keep the state directory in memory where the machine can, because the sandbox does: a service that syncs its log
would else pay for a disk in the peers alone.
"""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import docker
from docker.errors import DockerException
from docker.models.containers import Container

from containers import host, processes
from containers.runtime import Limits
from containers.shard import UNKNOWN
from containers.substrate import SubstrateManifest

MEMORY = Path("/dev/shm")
NOBODY = "65534:65534"
READY_SECONDS = 60.0


def memory_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory, or an ordinary one where there is none."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="bench-", dir=MEMORY if usable else None)


class PeerFailed(Exception):
    """A peer did not do its part; its figure would be none."""


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


class Peer(ABC):
    """State, socket and export folders; a subclass starts and kills the service."""

    used = UNKNOWN

    def __init__(self, gateway: Path) -> None:
        self._memory = memory_folder()
        self.folder, self.gateway = Path(self._memory.name), gateway
        self.folder.chmod(0o755)

    def begin(
        self, env: Mapping[str, str], coverage: bool = False, ready_seconds: float = 60.0, **inherited: object
    ) -> Path:
        """`inherited`: nothing, for a peer begins each case with fresh state."""
        for name in ("state", "agent"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o777)
        self.start(env)
        path, pause, end = self.folder / "agent" / "agent.sock", 0.001, time.monotonic() + READY_SECONDS
        while not accepts(path):
            if time.monotonic() > end:
                raise PeerFailed(f"{type(self).__name__}: the service never listened")
            time.sleep(pause)
            pause = min(pause * 1.1, 0.02)
        return path

    def end(self, drain: bool = False) -> Path:
        self.kill()
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.folder / "state", out)
        return out

    @abstractmethod
    def start(self, env: Mapping[str, str]) -> None:
        """Start the service; `begin` waits until it listens."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""

    def close(self) -> None:
        self._memory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Forked(Peer):
    """The service in a plain fork of an interpreter that has the same modules imported."""

    def __init__(self, tree: Path, manifest: SubstrateManifest, gateway: Path, deps: Path | None) -> None:
        super().__init__(gateway)
        zygote = Path(__file__).with_name("zygote.py")
        arguments = [str(zygote), str(tree), manifest.command[2], ",".join(manifest.preload)]
        self._zygote = subprocess.Popen(
            [sys.executable, "-S", *arguments],
            env={"PYTHONPATH": str(deps or ""), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, env: Mapping[str, str]) -> None:
        paths = {
            "AGENT_SOCKET": str(self.folder / "agent" / "agent.sock"),
            "STATE_DIR": str(self.folder / "state"),
            "GATEWAY_SOCKET": str(self.gateway),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._ask(json.dumps({**paths, **env}))

    def kill(self) -> None:
        self._ask("")

    def close(self) -> None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        with contextlib.suppress(OSError):
            self._zygote.stdin.close()
        self._zygote.wait(30)
        self._zygote.stdout.close()
        super().close()

    def _ask(self, line: str) -> None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(line + "\n")
        self._zygote.stdin.flush()
        if not self._zygote.stdout.readline():
            raise PeerFailed("the forking peer went away")


def engine() -> tuple[docker.DockerClient | None, str]:
    """A Docker Engine that answers, or the reason why there is none."""
    try:
        client = docker.from_env(timeout=60)
    except DockerException as error:
        return None, f"no Docker Engine answers: {error}"[:200]
    try:
        client.ping()
    except (DockerException, OSError) as error:
        client.close()
        return None, f"no Docker Engine answers: {error}"[:200]
    return client, ""


class Contained(Peer):
    """`docker run` a replay: a fresh container of the Engine, hardened as a trial is, then killed and removed.

    The image is empty but for the links of a merged /usr. Interpreter, libraries, tree and dependencies are the very
    files of this machine that the sandbox shows, bound read-only at the same places.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        tree: Path,
        manifest: SubstrateManifest,
        gateway: Path,
        deps: Path | None,
    ) -> None:
        super().__init__(gateway)
        self._client, self._command, self._deps = client, manifest.command, deps
        _, libraries = host.interpreter_digest(self.folder / "interpreter.json")
        self._layout = host.layout("root", libraries)
        self._tree = tree
        self._image = self._import()
        self._container: Container | None = None

    def start(self, env: Mapping[str, str]) -> None:
        shown = {path: path for path in self._layout.binds} | {str(self._tree): "/app"}
        if self._deps is not None:
            shown[str(self._deps)] = "/deps"
        shown[str(self.gateway.parent)] = "/run/gateway"
        volumes = [f"{source}:{target}:ro" for source, target in shown.items()]
        volumes += [
            f"{self.folder}/{name}:{target}"
            for name, target in (("state", "/state"), ("agent", "/run/agent"))
        ]
        limits = Limits()
        self._container = self._client.containers.run(
            self._image,
            [self._layout.interpreter, *self._command[1:]],
            detach=True,
            working_dir="/app",
            user=NOBODY,
            volumes=volumes,
            environment={
                "AGENT_SOCKET": "/run/agent/agent.sock",
                "STATE_DIR": "/state",
                "GATEWAY_SOCKET": "/run/gateway/gateway.sock",
                "PYTHONPATH": "/app:/deps",
                "PYTHONDONTWRITEBYTECODE": "1",
                **env,
            },
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": ""},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=limits.processes,
            mem_limit=limits.memory_bytes,
        )

    def kill(self) -> None:
        if self._container is not None:
            self._container.remove(force=True)
            self._container = None

    def resident_bytes(self, env: Mapping[str, str]) -> int:
        """Of the container's processes while the service waits for a request."""
        self.begin(env)
        assert self._container is not None
        self._container.reload()
        held = processes.usage(int(self._container.attrs["State"]["Pid"]))["memory_bytes"]
        self.end()
        return held

    def close(self) -> None:
        self.kill()
        self._client.images.remove(self._image, force=True)
        super().close()

    def _import(self) -> str:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for target, name in self._layout.links:
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)
            folder = tarfile.TarInfo("app")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        answer = self._client.api.import_image_from_data(data.getvalue(), repository=f"bench-{os.getpid()}")
        return str(json.loads(str(answer).splitlines()[-1])["status"])
