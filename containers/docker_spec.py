"""What a container looks like, as a pure function: spec in, the body of the Engine API's create call out.

Everything that an auditor would ask for is said here, and nothing relies on the daemon's defaults.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from containers.runtime import InstanceSpec, Mount
from containers.shim.boot import ORDERS
from containers.spec import SHIM_COMMAND, SHM_BYTES, TMP_BYTES, check_spec

LABEL = "evolve.engine."
"""Prefix of the labels that are the engine's own, beside the caller's."""
RESERVE = 8
"""PID 1 and what it forks to clean up, on top of the instance's own processes."""
_LOG = {"max-size": "4m", "max-file": "2"}


@dataclass(frozen=True)
class Identity:
    """Who runs inside, and whether that number belongs to this instance alone."""

    uid: int
    own: bool


def creation(
    image: str,
    spec: InstanceSpec,
    identity: Identity,
    orders: Mapping[str, Any],
    labels: Mapping[str, str],
    made: tuple[Mount, ...],
    oci_runtime: str | None,
) -> dict[str, Any]:
    """`made`: files that the engine adds to the spec's mounts. Raises RuntimeBroken for a mount that would shadow the
    sandbox's own."""
    check_spec(spec)
    kept_open = not spec.survives_caller
    return {
        "Image": image,
        "Entrypoint": ["python3", "-I", "-S", "-X", "utf8", "-c", SHIM_COMMAND],
        "Cmd": [],
        "Env": [f"{ORDERS}={json.dumps(orders)}"],
        "User": f"{identity.uid}:{identity.uid}",
        "WorkingDir": "/",
        "Hostname": "sandbox",
        "Labels": {**spec.labels, **{LABEL + name: value for name, value in labels.items()}},
        "NetworkDisabled": True,
        "StopSignal": "SIGTERM",
        "Tty": False,
        "OpenStdin": kept_open,
        "StdinOnce": kept_open,
        "AttachStdin": kept_open,
        "AttachStdout": spec.interactive,
        "AttachStderr": spec.interactive,
        "HostConfig": {
            "AutoRemove": False,
            "Binds": None,
            "CapAdd": None,
            "CapDrop": ["ALL"],
            "CgroupnsMode": "private",
            "Devices": [],
            "Init": False,
            "IpcMode": "none",
            "LogConfig": {"Type": "none"} if spec.interactive else {"Type": "json-file", "Config": _LOG},
            "Memory": spec.limits.memory_bytes or 0,
            "MemorySwap": spec.limits.memory_bytes or 0,
            "Mounts": [_bind(mount) for mount in (*spec.mounts, *made)],
            "NetworkMode": "none",
            "OomKillDisable": False,
            "PidMode": "",
            "PidsLimit": spec.limits.processes + (RESERVE if identity.own else 1),
            "Privileged": False,
            "PublishAllPorts": False,
            "ReadonlyRootfs": True,
            "RestartPolicy": {"Name": "no"},
            "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": _tmpfs(spec),
            "UTSMode": "",
            "UsernsMode": "",
            **({"Runtime": oci_runtime} if oci_runtime else {}),
        },
    }


def _bind(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(mount.source),
        "Target": mount.target,
        "ReadOnly": not mount.writable,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _tmpfs(spec: InstanceSpec) -> dict[str, str]:
    """Writable places that end with the instance; and one over /run, so that nothing of the base image's is shown."""
    open_to_all = "rw,nosuid,nodev,mode=1777,size="
    places = {
        "/dev/shm": f"{open_to_all}{SHM_BYTES}",
        "/run": "rw,nosuid,nodev,noexec,mode=0755,size=65536",
        "/tmp": f"{open_to_all}{TMP_BYTES},exec",
    }
    if spec.argv[0] == "@launch":
        places["/state"] = f"{open_to_all}{TMP_BYTES}"
    return places
