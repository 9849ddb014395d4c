"""Clearing up after processes that died: sandboxes, their groups and folders, half-made builds. Never a live
one."""

import re
from pathlib import Path

from containers import cgroups
from containers.bubblewrap import BubblewrapRuntime
from containers.host import STAGING
from containers.images import discard
from containers.processes import Identity, boot_id
from containers.registry import Registry
from containers.runtime import Runtime

_MAKER = re.compile(r"(\d+)-(\d+)(-.*)?")


def reap(runtime: Runtime) -> list[str]:
    """Kill and forget every instance whose caller is gone and that was not meant to survive it; what was
    cleared."""
    cleared = []
    for instance in runtime.orphans():
        runtime.kill(instance)
        runtime.remove(instance)
        cleared.append(instance.name)
    for place in ("images", "layers", "shims", "run"):
        cleared += _half_built(runtime.home / place)
    if isinstance(runtime, BubblewrapRuntime):
        cleared += _half_started(Registry(runtime.home))
        cgroups.sweep(runtime.groups, lambda name: not _maker_lives(name))
    return cleared


def _half_started(registry: Registry) -> list[str]:
    """Folders without a record: their starter died before PID 1 got its orders, so nothing runs there."""
    cleared = []
    for name in registry.begun():
        with registry.locked(name):  # a starter at work holds this lock; one that nobody needs goes
            if registry.read(name) is None and registry.private(name).exists():
                registry.forget(name)
                cleared.append(registry.private(name).name)
    return cleared


def _half_built(folder: Path) -> list[str]:
    gone = [path for path in folder.glob(f"{STAGING}*") if not _maker_lives(path.name.removeprefix(STAGING))]
    for path in gone:
        discard(path)
    return [path.name for path in gone]


def _maker_lives(name: str) -> bool:
    """`name` starts with the maker's `<pid>-<start time>`; anything else is not ours to judge."""
    match = _MAKER.fullmatch(name)
    return match is None or Identity(int(match[1]), int(match[2]), boot_id()).alive()
