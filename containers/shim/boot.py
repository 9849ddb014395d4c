"""Configuration, and giving up every privilege before anything untrusted is near."""

from __future__ import annotations

import ctypes
import json
import os
import resource

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from typing import Any, NoReturn

PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63
SECCOMP_MODE_FILTER = 2
INSTRUCTION_BYTES = 8
CONFIG_FD = 3
ORDERS = "SHIM_ORDERS"

EXIT_WALL = 124
EXIT_BROKEN = 125
EXIT_LOCKED = 97
EXIT_WRONG_EPOCH = 98

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int = 0) -> int:
    return int(
        _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    )


def read_config() -> dict[str, Any]:
    """The engine's orders: a variable where the engine hands over no descriptors, else an anonymous pipe. An engine
    that died before it sent them all starts nothing."""
    given = os.environ.pop(ORDERS, None)
    if given is not None:
        told: dict[str, Any] = json.loads(given)
        return told
    chunks = []
    while chunk := os.read(CONFIG_FD, 65536):
        chunks.append(chunk)
    os.close(CONFIG_FD)
    data = b"".join(chunks)
    if not data.endswith(b"\n"):
        die("the engine went away before the start", EXIT_BROKEN)
    config: dict[str, Any] = json.loads(data)
    return config


def die(message: str, code: int) -> NoReturn:
    os.write(2, f"[shim] {message}\n".encode())
    os._exit(code)


def close_strangers(keep: set[int]) -> None:
    """Close every descriptor that the engine did not name, whoever leaked it to us."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue


def drop_privileges(uid: int | None, gid: int | None) -> None:
    """Become an ordinary user for good. `uid` None: the engine started us as one (user namespace)."""
    if uid is not None and gid is not None:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        for capability in range(LAST_CAPABILITY + 1):
            prctl(PR_CAPBSET_DROP, capability)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _clear_capabilities()
    if prctl(PR_SET_NO_NEW_PRIVS, 1) != 0 or prctl(PR_SET_DUMPABLE, 0) != 0:
        die("cannot give up privileges", EXIT_BROKEN)
    if os.getuid() == 0 or os.geteuid() == 0:
        die("still root after the drop", EXIT_BROKEN)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def put_on(filter_bytes: bytes) -> None:
    """A system-call filter for this process and all that it starts; never to be taken off."""
    program = _Program(len(filter_bytes) // INSTRUCTION_BYTES, filter_bytes)
    if _libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(program)) != 0:
        die("cannot put on the system-call filter", EXIT_BROKEN)


def _clear_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, nothing) != 0:
        die("cannot clear capabilities", EXIT_BROKEN)


def limit_child(limits: dict[str, Any]) -> None:
    """Per-process limits of what runs inside; PID 1 itself stays free of them so that it can always clean
    up."""
    wanted = [
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_DATA, limits["data_bytes"]),
        (resource.RLIMIT_CORE, 0),
    ]
    for which, value in wanted:
        if value is None:
            continue
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(which, (value, value))
    prctl(PR_SET_DUMPABLE, 1)
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("500")  # when memory runs out, the child goes before PID 1
    except OSError:
        pass
