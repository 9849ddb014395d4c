"""The caller's side of the trial launcher: one sandbox, case after case, each from fresh state."""

import json
import os
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from containers.runtime import ImageRef, InstanceSpec, Limits, Mount, Runtime, RuntimeBroken
from containers.shim.files import COVERAGE_BYTES, EXPORT_BYTES, wipe
from containers.substrate import SubstrateManifest

GRACE_SECONDS = 30.0
COVERAGE_FILE = "coverage.json"
EPOCH = "1"
CHUNK = 1 << 20
_MAX_ANSWER = 8 << 20
_MAX_SOCKET_PATH = 107


class ServiceFailed(Exception):
    """The service itself died or never listened: the candidate's failure, not the arena's."""

    def __init__(self, exit_code: int | None, log: str) -> None:
        super().__init__(
            f"the service ended with {exit_code}" if exit_code is not None else "the service failed"
        )
        self.exit_code = exit_code
        self.log = log


@dataclass(frozen=True)
class Used:
    """What the service had taken when its case ended: its first process, but for `tasks`. None: that had ended by then."""

    peak_bytes: int | None
    open_files: int | None
    tasks: int | None
    """Threads of all of its processes."""


UNKNOWN = Used(None, None, None)


class Shard:
    """A running launcher. Every breakdown of its own is RuntimeBroken; the service dying is ServiceFailed.

    `tree` shows that worktree at /app instead of the image's (visible cases only: nothing is verified about
    it).
    """

    def __init__(
        self,
        runtime: Runtime,
        image: ImageRef,
        manifest: SubstrateManifest,
        *,
        name: str,
        labels: Mapping[str, str],
        workdir: Path,
        gateway_dir: Path | None,
        limits: Limits | None = None,
        tree: Path | None = None,
        ready_seconds: float = 60.0,
    ) -> None:
        self._runtime, self._manifest, self._ready = runtime, manifest, ready_seconds
        self._agent, self._out, self._control = workdir / "agent", workdir / "out", workdir / "ctl"
        if len(os.fsencode(self._agent / "agent.sock")) > _MAX_SOCKET_PATH:
            raise RuntimeBroken(f"{self._agent}: too long for a unix socket; use a shorter EVOLVE_HOME")
        for folder in (self._agent, self._out, self._control):
            folder.mkdir(parents=True, exist_ok=True)
        mounts = [Mount(self._agent, "/run/agent", writable=True), Mount(self._control, "/ctl")]
        if gateway_dir is not None:
            mounts.append(Mount(gateway_dir, "/run/gateway"))
        if tree is not None:
            mounts.append(Mount(tree, "/app"))
        spec = InstanceSpec(
            name=name,
            role="trial",
            argv=("@launch",),
            env={
                "AGENT_SOCKET": "/run/agent/agent.sock",
                "GATEWAY_SOCKET": "/run/gateway/gateway.sock",
                "INSTANCE_EPOCH": EPOCH,
                "STATE_DIR": "/state",
            },
            mounts=tuple(mounts),
            labels=labels,
            limits=limits or Limits(),
            interactive=True,
        )
        self._instance = runtime.start(image, spec)
        self.used = UNKNOWN
        """By the last case that ended."""
        self._buffer = bytearray()
        self._closed = False

    def begin(
        self,
        env: Mapping[str, str],
        coverage: bool = False,
        ready_seconds: float | None = None,
        *,
        state: Path | None = None,
        prepare: Sequence[str] = (),
    ) -> Path:
        """Start the service from fresh state, or on a copy of the files in `state` after the command `prepare`; the host
        path of its socket, which already accepts connections."""
        patience = self._ready if ready_seconds is None else ready_seconds
        _own(self._control, env.get("INSTANCE_EPOCH", EPOCH))
        request = {
            "op": "begin",
            "env": dict(env),
            "command": list(self._manifest.command),
            "coverage": coverage,
            "ready_timeout": patience,
            "timeout": patience,
            "prepare": list(prepare),
        }
        files = [path for path in sorted(state.rglob("*")) if path.is_file()] if state is not None else []
        if state is not None:
            request["state"] = [(str(path.relative_to(state)), path.stat().st_size) for path in files]
        answer = self._ask(request, patience * 2 if prepare else patience, files)
        if not answer["ok"]:
            raise ServiceFailed(answer.get("exit"), answer.get("output", ""))
        path = self._agent / "agent.sock"
        if (
            not path.is_socket() or path.is_symlink()
        ):  # a link would lead our client to another socket of the host
            raise ServiceFailed(None, f"{path.name} is not a socket")
        return path

    def mark(self) -> bool:
        """Of a case begun with coverage: forget the lines that ran until now. False when the service would not."""
        return bool(self._ask({"op": "mark"}, 3.0)["ok"])

    def end(self, drain: bool = False) -> Path:
        """Kill the case, wipe, and return the folder with what it left in its state directory, valid until
        the next `end`. `drain`: it is asked to end by itself before. Raises ServiceFailed when that was too much to carry
        over: a cut result must never count as whole."""
        answer = self._ask({"op": "end", "drain": drain}, 0.0)
        self.used = Used(answer["peak_bytes"], answer["open_files"], answer["tasks"])
        self._receive(answer)
        if answer.get("truncated"):
            raise ServiceFailed(answer.get("exit"), "the state directory is larger than what may be exported")
        return self._out

    def _receive(self, answer: dict[str, Any]) -> None:
        """Names and sizes are what a case left, and PID 1 may have fallen to it."""
        files = [(str(name), int(size)) for name, size in answer["files"]]
        if answer.get("coverage") is not None:
            files.append((COVERAGE_FILE, int(answer["coverage"])))
        if sum(size for _, size in files) > EXPORT_BYTES + COVERAGE_BYTES or any(
            size < 0 for _, size in files
        ):
            raise self._broken("the launcher sends more than it may")
        wipe(str(self._out))
        deadline = time.monotonic() + GRACE_SECONDS
        for name, size in files:
            parts = name.split("/")
            if not {"", ".", ".."}.isdisjoint(parts) or "\0" in name:
                raise self._broken(f"the launcher sends a file named {name!r}")
            path = self._out.joinpath(*parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    self._copy(file, size, deadline)
            except OSError as error:
                raise self._broken(f"cannot keep {name!r}: {error.strerror}") from None

    def _copy(self, file: IO[bytes], size: int, deadline: float) -> None:
        while size > 0:
            if not self._buffer:
                self._fill(deadline)
            part = self._buffer[:size]
            file.write(part)
            del self._buffer[: len(part)]
            size -= len(part)

    def run(self, argv: Sequence[str], env: Mapping[str, str], timeout: float) -> tuple[int | None, str]:
        """Run one of the substrate's own checks in fresh state: (exit code or None after `timeout`, end of
        its output)."""
        request = {"op": "run", "argv": list(argv), "env": dict(env), "timeout": timeout}
        answer = self._ask(request, timeout)
        if not answer["ok"]:
            raise RuntimeBroken(f"{self._instance.name}: {answer.get('error')}")
        return answer["exit"], answer["output"]

    def close(self) -> None:
        """End everything inside and forget the instance; exported files stay. Idempotent."""
        if not self._closed:
            self._closed = True
            self._runtime.kill(self._instance)
            self._runtime.remove(self._instance)
            wipe(str(self._agent))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], patience: float, files: Sequence[Path] = ()) -> dict[str, Any]:
        stdin = self._instance.stdin
        if self._closed or stdin is None or self._instance.stdout is None:
            raise RuntimeBroken(f"{self._instance.name}: the launcher is closed")
        try:
            line = (json.dumps(request) + "\n").encode()
            for data in chain((line,), (path.read_bytes() for path in files)):
                sent = 0
                while sent < len(data):
                    sent += stdin.write(data[sent : sent + CHUNK])
        except (
            OSError,
            ValueError,
        ) as error:  # ValueError: somebody killed the instance and its pipes are closed
            raise self._broken(f"the launcher is gone ({error})") from None
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + patience + GRACE_SECONDS))
        return answer

    def _line(self, deadline: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_ANSWER:
                raise self._broken("the launcher went away")
            self._fill(deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _fill(self, deadline: float) -> None:
        stdout = self._instance.stdout
        if stdout is None:
            raise self._broken("the launcher is closed")
        poller = select.poll()
        poller.register(stdout, select.POLLIN)
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            raise self._broken("the launcher did not answer in time")
        chunk = stdout.read(65536)
        if not chunk:
            raise self._broken("the launcher went away")
        self._buffer += chunk

    def _broken(self, what: str) -> RuntimeBroken:
        tail = self._runtime.logs(self._instance, 2000)
        return RuntimeBroken(f"{self._instance.name}: {what}; its log ends: {tail[-400:]!r}")


def _own(control: Path, epoch: str) -> None:
    """What a live instance finds at /ctl: a case must not see by a missing file that it is one."""
    (control / ".lock").touch(mode=0o644)
    (control / ".owner").write_text(epoch)
