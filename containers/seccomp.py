"""The system-call filter, as a pure function: classic BPF that every process in a sandbox runs under.

It is the second wall behind namespaces, no capabilities and no_new_privs. It refuses what those leave open:
new user namespaces when the engine starts as root, address families that no network namespace confines
(AF_VSOCK), System V and POSIX queues that would outlive a case, kernel keyrings, io_uring, and another
process's limits and priority.
"""

import errno
import platform
import struct
from dataclasses import dataclass

from containers.runtime import EngineUnavailable

_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _RETURN, _JUMP_ABOVE = 0x20, 0x15, 0x45, 0x06, 0x25
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARG0_LOW, _ARG1_LOW = 0, 4, 16, 24
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}
_CLONE_NAMESPACES = (
    0x7E020000  # in clone(2) the low byte is the exit signal, so CLONE_NEWTIME does not exist there
)
FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: all of them confined by the network namespace."""

_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "socket": 41, "socketpair": 53, "clone": 56, "unshare": 272, "setns": 308, "clone3": 435,
        "prlimit64": 302, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree":
        428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "mount_setattr": 442, "process_vm_readv": 310, "process_vm_writev": 311, "process_madvise": 440,
        "pidfd_getfd": 438, "kcmp": 312, "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "open_by_handle_at": 304, "init_module": 175, "finit_module": 313,
        "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "syslog": 103, "acct": 163,
        "quotactl": 179, "swapon": 167, "reboot": 169, "lookup_dcookie": 212, "shmget": 29, "semget": 64,
        "msgget": 68, "mq_open": 240, "fanotify_init": 300, "vhangup": 153, "setpriority": 141,
        "sched_setparam": 142, "sched_setscheduler": 144, "sched_setaffinity": 203, "sched_setattr": 314,
        "ioprio_set": 251,
    },
    "aarch64": {
        "socket": 198, "socketpair": 199, "clone": 220, "unshare": 97, "setns": 268, "clone3": 435,
        "prlimit64": 261, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "open_tree": 428,
        "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr":
        442, "process_vm_readv": 270, "process_vm_writev": 271, "process_madvise": 440, "pidfd_getfd":
        438, "kcmp": 272, "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "open_by_handle_at": 265, "init_module": 105, "finit_module": 273,
        "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "syslog": 116, "acct": 89,
        "quotactl": 60, "swapon": 224, "reboot": 142, "lookup_dcookie": 18, "shmget": 194, "semget": 190,
        "msgget": 186, "mq_open": 180, "fanotify_init": 262, "vhangup": 58, "setpriority": 140,
        "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122, "sched_setattr": 274,
        "ioprio_set": 30,
    },
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_OF_A_PROCESS = ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr")
"""Their first argument is a process: only 0, oneself, is let through."""
_OF_A_KIND = {"setpriority": 0, "ioprio_set": 1}
"""Their first argument says what the second names, and this is the number for one process."""
_SPECIAL = ("socket", "socketpair", "clone", "unshare", "clone3", *_OF_A_PROCESS, *_OF_A_KIND)
_ABSENT = ("io_uring_setup", "io_uring_enter", "io_uring_register", "shmget", "semget", "msgget", "mq_open")


@dataclass(frozen=True)
class Instruction:
    code: int
    k: int
    when_true: int = 0
    when_false: int = 0

    def pack(self) -> bytes:
        return struct.pack("<HBBI", self.code, self.when_true, self.when_false, self.k)


def program(machine: str | None = None) -> list[Instruction]:
    """The filter for `machine` (this one when None). Raises EngineUnavailable where no table is known."""
    machine = machine or platform.machine()
    numbers = _NUMBERS.get(machine)
    if numbers is None:
        raise EngineUnavailable(
            f"no system-call table for {machine!r}: use the docker engine on this machine"
        )
    lines = [
        Instruction(_LOAD, _ARCH),
        Instruction(_JUMP_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        Instruction(_RETURN, _KILL),
        Instruction(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        lines += [Instruction(_JUMP_ABOVE, _X32_BIT - 1, 0, 1), Instruction(_RETURN, _KILL)]
    for name in sorted(set(numbers) - set(_SPECIAL)):
        lines += _refuse(numbers[name], errno.ENOSYS if name in _ABSENT else errno.EPERM)
    lines += _refuse(
        numbers["clone3"], errno.ENOSYS
    )  # its flags lie behind a pointer; the C library falls back
    lines += _when(numbers["clone"], _bits(_CLONE_NAMESPACES, errno.EPERM))
    lines += _when(numbers["unshare"], _bits(_NEW_NAMESPACES, errno.EPERM))
    for name in ("socket", "socketpair"):
        lines += _when(numbers[name], _families())
    for name in _OF_A_PROCESS:
        lines += _when(numbers[name], _only({_ARG0_LOW: 0}))
    for name, one in _OF_A_KIND.items():
        lines += _when(numbers[name], _only({_ARG0_LOW: one, _ARG1_LOW: 0}))
    lines.append(Instruction(_RETURN, _ALLOW))
    return lines


def filter_bytes(machine: str | None = None) -> bytes:
    return b"".join(line.pack() for line in program(machine))


def _refuse(number: int, error: int) -> list[Instruction]:
    return [Instruction(_JUMP_EQUAL, number, 0, 1), Instruction(_RETURN, _ERRNO | error)]


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
    return [Instruction(_JUMP_EQUAL, number, 0, len(body)), *body]


def _bits(mask: int, error: int) -> list[Instruction]:
    return [
        Instruction(_LOAD, _ARG0_LOW),
        Instruction(_JUMP_ANY_BIT, mask, 0, 1),
        Instruction(_RETURN, _ERRNO | error),
        Instruction(_RETURN, _ALLOW),
    ]


def _families() -> list[Instruction]:
    lines = [Instruction(_LOAD, _ARG0_LOW)]
    for position, family in enumerate(FAMILIES):
        lines.append(Instruction(_JUMP_EQUAL, family, len(FAMILIES) - position, 0))
    return [*lines, Instruction(_RETURN, _ERRNO | errno.EAFNOSUPPORT), Instruction(_RETURN, _ALLOW)]


def _only(wanted: dict[int, int]) -> list[Instruction]:
    """Allow these values of these arguments, refuse all others."""
    lines: list[Instruction] = []
    for argument, value in wanted.items():
        lines += [
            Instruction(_LOAD, argument),
            Instruction(_JUMP_EQUAL, value, 1, 0),
            Instruction(_RETURN, _ERRNO | errno.EPERM),
        ]
    return [*lines, Instruction(_RETURN, _ALLOW)]
