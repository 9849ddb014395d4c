"""Control groups where this process may make them (version 1 or 2); elsewhere limits are per process only."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import Limits

_PREFIX = "evolve-"
_RESERVE = 8  # PID 1 and what it forks to clean up, on top of the instance's own processes


@dataclass(frozen=True)
class Parent:
    """A folder below which we may make groups, and the controllers that bite there."""

    path: Path
    version: int
    controllers: frozenset[str]


def find_parents() -> list[Parent]:
    """Where groups can be made; found by trying. Empty: no controller is writable for us."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(",") if names else ("",):
            own[name] = path
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup":
            for name in {"pids", "memory"} & set(options.split(",")):
                found += _usable(Path(mount), own.get(name, "/"), 1, frozenset({name}))
        elif kind == "cgroup2":
            found += _usable(Path(mount), own.get("", "/"), 2, frozenset())
    return found


def _usable(mount: Path, own: str, version: int, controllers: frozenset[str]) -> list[Parent]:
    here = mount / own.lstrip("/")
    candidates = (
        [here] if version == 1 else [here, *(path for path in here.parents if path.is_relative_to(mount))]
    )
    for candidate in candidates:
        probe = candidate / f"{_PREFIX}probe-{os.getpid()}"
        try:
            if version == 2:
                listed = (candidate / "cgroup.subtree_control").read_text().split()
                controllers = frozenset({"pids", "memory"} & set(listed))
                if not controllers:
                    continue
            probe.mkdir()
            probe.rmdir()
        except OSError:
            continue
        return [Parent(candidate, version, controllers)]
    return []


def enter(
    parents: list[Parent], name: str, pid: int, limits: Limits
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Put `pid` (which has not forked yet) into fresh groups. Returns their folders and what is limited by
    them."""
    folders: list[str] = []
    held: set[str] = set()
    for parent in parents:
        folder = parent.path / f"{_PREFIX}{name}"
        try:
            folder.mkdir(exist_ok=True)
            folders.append(str(folder))
            for controller in parent.controllers:
                for file, value in _settings(parent.version, controller, limits):
                    (folder / file).write_text(value)
            (folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            continue
        held |= parent.controllers
    return tuple(folders), frozenset(held)


def _settings(version: int, controller: str, limits: Limits) -> list[tuple[str, str]]:
    if controller == "pids":
        return [("pids.max", str(limits.processes + _RESERVE))]
    if limits.memory_bytes is None:
        return []
    return [("memory.max" if version == 2 else "memory.limit_in_bytes", str(limits.memory_bytes))]


def leave(folders: tuple[str, ...]) -> None:
    """Remove the groups of an instance whose processes are gone. Idempotent."""
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def sweep(parents: list[Parent], unused: Callable[[str], bool]) -> None:
    """Remove groups that a crash left over and that `unused` (given their name) confirms; never a populated
    one."""
    for parent in parents:
        for folder in parent.path.glob(f"{_PREFIX}*"):
            if unused(folder.name.removeprefix(_PREFIX)):
                with contextlib.suppress(OSError):
                    folder.rmdir()
