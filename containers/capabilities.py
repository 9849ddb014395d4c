"""What this engine can promise on this machine, for `evolve doctor` and for reports: never more than what
bites."""

from dataclasses import dataclass

from containers.cgroups import Parent
from containers.spec import Mode

_IDENTITY: dict[Mode, str] = {
    "root": "a distinct unprivileged uid per instance",
    "user": "the caller's own uid, in a user namespace per instance",
}


@dataclass(frozen=True)
class Capabilities:
    engine: str
    identity: str
    """Who runs inside, and what that separates."""
    processes: str
    memory: str
    memory_coders: str
    """The same for coding CLIs and shell graders (`host_tools`), where a per-process limit would break
    Node."""
    cpu: str
    files: str
    disk: str
    """Total space in writable mounts."""
    cgroups: tuple[str, ...]


def describe(mode: Mode, parents: list[Parent]) -> Capabilities:
    controllers = {name for parent in parents for name in parent.controllers}
    memory = "total, by cgroup" if "memory" in controllers else None
    groups = (
        f"{parent.path} (v{parent.version}: {' '.join(sorted(parent.controllers))})" for parent in parents
    )
    return Capabilities(
        engine="bubblewrap",
        identity=_IDENTITY[mode],
        processes="per instance, by RLIMIT_NPROC" + (" and cgroup" if "pids" in controllers else ""),
        memory=memory or "per process, by RLIMIT_DATA (no memory cgroup is writable)",
        memory_coders=memory or "not limited (no memory cgroup is writable)",
        cpu="seconds per process, by RLIMIT_CPU; no share of cores",
        files="size of one file, by RLIMIT_FSIZE; size of every tmpfs",
        disk="not limited in total",
        cgroups=tuple(sorted(groups)),
    )
