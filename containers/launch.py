"""Starting one `bwrap`: descriptors, the orders for PID 1, and knowing that it really runs.

PID 1 executes nothing before it has read its orders to the last byte, and they are sent only after the
instance was written down. So a starter that dies at any point leaves either nothing running or something that
can be found.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from containers import processes
from containers.diagnosis import explain
from containers.orders import Means, Task, orders
from containers.registry import bwrap_status
from containers.runtime import EngineUnavailable, InstanceSpec, RuntimeBroken
from containers.seccomp import filter_bytes
from containers.spec import SECCOMP_FD, STATUS_FD

START_SECONDS = 30.0
_CONFIG_FD, _LOG_FD, _READY_FD, _LIFELINE_FD, _LOCK_FD = 3, 4, 5, 6, 9
_REFUSED_BY_SHIM = (97, 98)


@dataclass
class Launched:
    """What the starter holds of a running instance. When the lifeline closes, PID 1 ends everything."""

    monitor: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    lifeline: int | None

    def close(self) -> None:
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self.lifeline is not None:
            os.close(self.lifeline)
            self.lifeline = None


class _Pipes:
    """Descriptors of one start; whatever is not handed over is closed, whichever way the start ends."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def pipe(self) -> tuple[int, int]:
        reader, writer = os.pipe()
        self._open |= {reader, writer}
        return reader, writer

    def add(self, descriptor: int) -> int:
        self._open.add(descriptor)
        return descriptor

    def keep(self, descriptor: int) -> int:
        self._open.discard(descriptor)
        return descriptor

    def close(self, *descriptors: int) -> None:
        for descriptor in descriptors or tuple(self._open):
            os.close(descriptor)
            self._open.discard(descriptor)


def launch(
    command: list[str],
    private: Path,
    spec: InstanceSpec,
    task: Task,
    uid: int | None,
    lock: int | None,
    register: Callable[[tuple[int, int]], Mapping[str, bool]],
) -> Launched:
    """Start, register, give the orders, wait until PID 1 has given up its privileges. `uid` None: it is started as an
    ordinary user; `lock`: our hold on the generation, which PID 1 inherits. Raises RuntimeBroken."""
    pipes = _Pipes()
    monitor = None
    try:
        log = pipes.add(os.open(private / "log", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600))
        status = pipes.add(os.open(private / "status", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        config_read, config_write = pipes.pipe()
        ready_read, ready_write = pipes.pipe()
        filter_read, filter_write = pipes.pipe()
        os.write(filter_write, filter_bytes())
        pipes.close(filter_write)
        inside = {_CONFIG_FD: config_read, _LOG_FD: log, _READY_FD: ready_write}
        inside |= {SECCOMP_FD: filter_read, STATUS_FD: status, 2: log}
        lifeline = None
        if not spec.survives_caller:
            inside[_LIFELINE_FD], lifeline = pipes.pipe()
        if lock is not None:
            inside[_LOCK_FD] = pipes.add(os.dup(lock))
        stdin = stdout = None
        if spec.interactive:
            inside[0], stdin = pipes.pipe()
            stdout, inside[1] = pipes.pipe()
        else:
            inside[0], inside[1] = pipes.add(os.open(os.devnull, os.O_RDWR)), log
        monitor = _spawn(command, inside)
        pipes.close(*{*inside.values()} - {log, status})
        init = _wait_for_child(private, monitor)
        held = register((init, monitor))
        means = Means(
            log_fd=_LOG_FD,
            uid=uid,
            ready_fd=_READY_FD,
            lifeline_fd=None if spec.survives_caller else _LIFELINE_FD,
            lock_fd=None if lock is None else _LOCK_FD,
            limits_memory=held["memory"],
        )
        _send(config_write, (json.dumps(orders(spec, task, means)) + "\n").encode())
        pipes.close(config_write)
        _wait_ready(ready_read, private, monitor, spec.name)
        launched = Launched(
            monitor,
            os.fdopen(pipes.keep(stdin), "wb", buffering=0) if stdin is not None else None,
            os.fdopen(pipes.keep(stdout), "rb", buffering=0) if stdout is not None else None,
            pipes.keep(lifeline) if lifeline is not None else None,
        )
        monitor = None
        return launched
    finally:
        pipes.close()
        if monitor is not None:
            _abandon(private, monitor)


def _spawn(command: list[str], inside: dict[int, int]) -> int:
    high = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 64) for target, source in inside.items()}
    try:
        return os.posix_spawn(
            command[0],
            command,
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for target, source in high.items()],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD],
        )
    except OSError as error:
        raise RuntimeBroken(f"cannot start {command[0]}: {error.strerror}") from None
    finally:
        for descriptor in high.values():
            os.close(descriptor)


def _wait_for_child(private: Path, monitor: int) -> int:
    deadline = time.monotonic() + START_SECONDS
    while (child := bwrap_status(private).get("child-pid")) is None:
        if _ended(monitor) or time.monotonic() > deadline:
            raise _refusal("bwrap did not start", private)
        time.sleep(0.0005)
    return child


def _send(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        return  # it ended; what it said last is reported by the wait for readiness


def _wait_ready(ready: int, private: Path, monitor: int, name: str) -> None:
    poller = select.poll()
    poller.register(ready, select.POLLIN)
    if not poller.poll(START_SECONDS * 1000):
        raise RuntimeBroken(f"{name}: PID 1 was not ready within {START_SECONDS:g} s: {_last_words(private)}")
    if os.read(ready, 16) == b"ready\n":
        return
    deadline = time.monotonic() + START_SECONDS
    while not _ended(monitor) and time.monotonic() < deadline:
        time.sleep(0.001)
    if bwrap_status(private).get("exit-code") not in _REFUSED_BY_SHIM:
        raise _refusal(f"{name} did not start", private)


def _refusal(what: str, private: Path) -> RuntimeBroken:
    words = _last_words(private)
    forbidden = explain(words)
    return EngineUnavailable(forbidden) if forbidden else RuntimeBroken(f"{what}: {words}")


def _ended(monitor: int) -> bool:
    stat = processes.read_stat(monitor)
    return stat is None or stat.state in "ZXx"


def _last_words(private: Path) -> str:
    lines = (private / "log").read_text(encoding="utf-8", errors="replace").split("\n")
    return " / ".join(line for line in lines[-4:] if line)[:600] or "it said nothing"


def _abandon(private: Path, monitor: int) -> None:
    """A start that failed half-way: nothing of it may go on running."""
    child = bwrap_status(private).get("child-pid")
    for pid in (child, monitor):
        if pid is not None and (identity := processes.Identity.of(pid)) is not None:
            identity.kill(time.monotonic() + START_SECONDS)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(monitor, 0)
