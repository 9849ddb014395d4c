"""What bubblewrap can promise on this machine: never more than what bites."""

from containers.cgroups import Parent
from containers.runtime import Capabilities
from containers.spec import Mode

_IDENTITY: dict[Mode, str] = {
    "root": "a distinct unprivileged uid per instance",
    "user": "the caller's own uid, in a user namespace per instance",
}


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
