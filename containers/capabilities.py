"""What this engine can promise on this machine, for `evolve doctor` and for reports: never more than what bites."""

from dataclasses import dataclass

from containers.cgroups import Parent
from containers.spec import Mode


@dataclass(frozen=True)
class Capabilities:
    engine: str
    identity: str
    """Who runs inside, and what that separates."""
    processes: str
    memory: str
    memory_coders: str
    """The same for coding CLIs and shell graders (`host_tools`), where a per-process limit would break Node."""
    cpu: str
    files: str
    disk: str
    """Total space in writable mounts."""
    cgroups: tuple[str, ...]


def describe(mode: Mode, parents: list[Parent]) -> Capabilities:
    controllers = {name for parent in parents for name in parent.controllers}
    identity = (
        "a distinct unprivileged uid per instance"
        if mode == "root"
        else "the caller's uid in a user namespace"
    )
    total = "total, by cgroup"
    return Capabilities(
        engine="bubblewrap",
        identity=identity,
        processes=("per instance, by RLIMIT_NPROC" + (" and cgroup" if "pids" in controllers else "")),
        memory=total if "memory" in controllers else "per process, by RLIMIT_DATA (no writable memory cgroup)",
        memory_coders=total if "memory" in controllers else "not limited (no writable memory cgroup)",
        cpu="seconds per process, by RLIMIT_CPU; no share of cores",
        files="size of one file, by RLIMIT_FSIZE; tmpfs sizes",
        disk="not limited in total",
        cgroups=tuple(sorted(f"{parent.path} (v{parent.version}: {' '.join(sorted(parent.controllers))})"
                             for parent in parents)),
    )  # fmt: skip
