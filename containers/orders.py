"""What PID 1 is told, whichever engine started it. See `containers.shim.boot`."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from containers.runtime import InstanceSpec

LOG_BYTES = 8 << 20


@dataclass(frozen=True)
class Task:
    """What an image says about its own start; of a bare sandbox everything is empty."""

    env: Mapping[str, str]
    command: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    drain_signal: str = "SIGTERM"


@dataclass(frozen=True)
class Means:
    """How this engine gives PID 1 what it needs. None: it does not, or need not."""

    log_fd: int
    uid: int | None = None
    """To become this user; None: it already is an ordinary one."""
    ready_fd: int | None = None
    lifeline_fd: int | None = None
    """When it closes, PID 1 ends everything."""
    lock_fd: int | None = None
    """The generation's lock, taken by the engine."""
    opens_lock: bool = False
    """PID 1 takes the generation's lock itself."""
    filter: bytes | None = None
    """A system-call filter to put on before anything runs."""
    limits_memory: bool = False
    """The engine limits memory for all processes together, so that no limit per process is needed."""
    counts_processes: bool = True
    """RLIMIT_NPROC counts this instance's processes alone."""


def task_of(spec: InstanceSpec, digest: str, substrate: Mapping[str, Any] | None, path: str) -> Task:
    """`substrate`: the image's manifest as JSON; `path`: where programs are found inside."""
    env = {
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/app:/deps",
        "TZ": "UTC",
    }
    if substrate is None:
        return Task({**env, **spec.env})
    return Task(
        env={**env, "IMAGE_DIGEST": digest, **spec.env},
        command=tuple(substrate["command"]),
        preload=tuple(substrate["preload"]),
        drain_signal=str(substrate["drain_signal"]),
    )


def orders(spec: InstanceSpec, task: Task, means: Means) -> dict[str, Any]:
    """As JSON for PID 1."""
    limits = spec.limits
    per_process = not means.limits_memory and not spec.host_tools
    return {
        "argv": spec.argv,
        "command": task.command,
        "drain_signal": task.drain_signal,
        "env": dict(task.env),
        "forwards": {str(port): path for port, path in spec.forwards.items()},
        "filter": None if means.filter is None else base64.b64encode(means.filter).decode(),
        "gid": means.uid,
        "interactive": spec.interactive,
        "lifeline_fd": means.lifeline_fd,
        "limits": {
            "processes": limits.processes if means.counts_processes else None,
            "file_bytes": limits.file_bytes,
            "open_files": limits.open_files,
            "cpu_seconds": limits.cpu_seconds,
            "data_bytes": limits.memory_bytes if per_process else None,
            "wall_seconds": limits.wall_seconds,
        },
        "lock_fd": means.lock_fd,
        "log_cap": LOG_BYTES,
        "log_fd": means.log_fd,
        "opens_lock": means.opens_lock,
        "preload": task.preload,
        "ready_fd": means.ready_fd,
        "uid": means.uid,
        "workdir": spec.workdir,
    }
