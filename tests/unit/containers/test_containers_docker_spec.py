"""The body of the Engine API's create call, by equality: a changed wall must be seen here."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from containers.docker_spec import LABEL, Identity, creation
from containers.orders import Means, orders, task_of
from containers.runtime import InstanceSpec, Limits, Mount, RuntimeBroken
from containers.shim.boot import ORDERS
from containers.spec import SHIM_COMMAND

OUT = Mount(Path("/w/out"), "/out", writable=True)
SPEC = InstanceSpec(
    name="n",
    role="trial",
    argv=("@launch",),
    mounts=(OUT,),
    labels={"run": "r"},
    limits=Limits(processes=32, memory_bytes=1 << 28),
    interactive=True,
)
LIVE = replace(SPEC, role="live", argv=("@serve",), interactive=False, survives_caller=True)
MADE = (Mount(Path("/h/etc/passwd"), "/etc/passwd"),)


def body(spec: InstanceSpec = SPEC, own: bool = True, oci_runtime: str | None = None) -> dict[str, Any]:
    told = {"v": 1}
    return creation("sha256:i", spec, Identity(7, own), told, {"home": "h"}, MADE, oci_runtime)


def test_a_trial_is_exactly_this() -> None:
    assert body() == {
        "Image": "sha256:i",
        "Entrypoint": ["python3", "-I", "-S", "-X", "utf8", "-c", SHIM_COMMAND],
        "Cmd": [],
        "Env": [f'{ORDERS}={{"v": 1}}'],
        "User": "7:7",
        "WorkingDir": "/",
        "Hostname": "sandbox",
        "Labels": {"run": "r", f"{LABEL}home": "h"},
        "NetworkDisabled": True,
        "StopSignal": "SIGTERM",
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            "AutoRemove": False,
            "Binds": None,
            "CapAdd": None,
            "CapDrop": ["ALL"],
            "CgroupnsMode": "private",
            "Devices": [],
            "Init": False,
            "IpcMode": "none",
            "LogConfig": {"Type": "none"},
            "Memory": 1 << 28,
            "MemorySwap": 1 << 28,
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": "/w/out",
                    "Target": "/out",
                    "ReadOnly": False,
                    "BindOptions": {"Propagation": "rprivate"},
                },
                {
                    "Type": "bind",
                    "Source": "/h/etc/passwd",
                    "Target": "/etc/passwd",
                    "ReadOnly": True,
                    "BindOptions": {"Propagation": "rprivate"},
                },
            ],
            "NetworkMode": "none",
            "OomKillDisable": False,
            "PidMode": "",
            "PidsLimit": 40,
            "Privileged": False,
            "PublishAllPorts": False,
            "ReadonlyRootfs": True,
            "RestartPolicy": {"Name": "no"},
            "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {
                "/dev/shm": "rw,nosuid,nodev,mode=1777,size=67108864",
                "/run": "rw,nosuid,nodev,noexec,mode=0755,size=65536",
                "/tmp": "rw,nosuid,nodev,mode=1777,size=268435456,exec",
                "/state": "rw,nosuid,nodev,mode=1777,size=268435456",
            },
            "UTSMode": "",
            "UsernsMode": "",
        },
    }


def test_a_live_instance_outlives_its_starter_and_its_state_is_no_memory() -> None:
    live = body(LIVE)
    assert (live["OpenStdin"], live["StdinOnce"]) == (False, False)
    assert "/state" not in live["HostConfig"]["Tmpfs"]
    assert live["HostConfig"]["LogConfig"]["Type"] == "json-file"


def test_a_caller_whose_number_others_share_gets_no_reserve() -> None:
    assert body(own=False)["HostConfig"]["PidsLimit"] == 33


def test_another_runtime_is_named_only_when_asked_for() -> None:
    assert "Runtime" not in body()["HostConfig"]
    assert body(oci_runtime="runsc")["HostConfig"]["Runtime"] == "runsc"


@pytest.mark.parametrize("target", ["/", "/proc/x", "/etc", "/shim/x", "relative", "/a/../b", "/app"])
def test_what_would_shadow_the_sandbox_is_refused(target: str) -> None:
    with pytest.raises(RuntimeBroken, match=r"nothing may be mounted|is refused"):
        body(replace(LIVE, mounts=(Mount(Path("/w"), target),)))


def test_the_orders_say_what_this_engine_can_not_hand_over() -> None:
    substrate = {"command": ["python", "-m", "service"], "preload": ["x"], "drain_signal": "SIGUSR1"}
    means = Means(log_fd=2, lifeline_fd=0, opens_lock=True, filter=b"\x00", limits_memory=True)
    told = orders(SPEC, task_of(SPEC, "sha256:i", substrate, "/bin"), means)
    assert json.loads(json.dumps(told)) | {"env": None} == {
        "argv": ["@launch"],
        "command": ["python", "-m", "service"],
        "drain_signal": "SIGUSR1",
        "env": None,
        "filter": "AA==",
        "gid": None,
        "forwards": {},
        "interactive": True,
        "lifeline_fd": 0,
        "limits": {
            "processes": 32,
            "file_bytes": 256 << 20,
            "open_files": 1024,
            "cpu_seconds": None,
            "data_bytes": None,
            "wall_seconds": None,
        },
        "lock_fd": None,
        "log_cap": 8 << 20,
        "log_fd": 2,
        "opens_lock": True,
        "preload": ["x"],
        "ready_fd": None,
        "uid": None,
        "workdir": "/app",
    }
    assert told["env"]["IMAGE_DIGEST"] == "sha256:i"
    assert told["env"]["PATH"] == "/bin"
