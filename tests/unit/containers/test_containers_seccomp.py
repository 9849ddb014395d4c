"""The filter, run by a small interpreter of classic BPF: every branch is walked, for both machines."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers import seccomp
from containers.runtime import EngineUnavailable
from containers.seccomp import _AUDIT_ARCH, _NUMBERS, program

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = sorted(_NUMBERS)


def verdict(machine: str, number: int, argument: int = 0, arch: int | None = None, second: int = 0) -> int:
    """What the kernel would answer to system call `number` with these first arguments."""
    arguments = (argument & (2**64 - 1), second, 0, 0, 0, 0)
    data = struct.pack("<IIQ6Q", number, _AUDIT_ARCH[machine] if arch is None else arch, 0, *arguments)
    lines, position, register = program(machine), 0, 0
    while True:
        line = lines[position]
        position += 1
        if line.code == 0x20:
            register = struct.unpack_from("<I", data, line.k)[0]
        elif line.code == 0x06:
            return line.k
        else:
            taken = {0x15: register == line.k, 0x45: bool(register & line.k), 0x25: register > line.k}[
                line.code
            ]
            position += line.when_true if taken else line.when_false


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_is_refused_or_judged_by_its_argument(machine: str) -> None:
    judged = {"socket", "socketpair", "clone", "unshare", *seccomp._OF_A_PROCESS, *seccomp._OF_A_KIND}
    for name, number in _NUMBERS[machine].items():
        if name not in judged:
            assert verdict(machine, number) & 0xFFFF0000 == ERRNO, name


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 600), argument=st.integers(0, 2**64 - 1))
def test_any_other_call_passes(machine: str, number: int, argument: int) -> None:
    if number not in _NUMBERS[machine].values():
        assert verdict(machine, number, argument) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@given(family=st.integers(0, 64))
def test_only_families_that_the_network_namespace_confines(machine: str, family: int) -> None:
    answer = verdict(machine, _NUMBERS[machine]["socket"], family)
    assert answer == (ALLOW if family in seccomp.FAMILIES else ERRNO | errno.EAFNOSUPPORT)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "flag", [0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x04000000, 0x08000000, 0x02000000]
)
def test_no_new_namespace_by_clone_or_unshare(machine: str, flag: int) -> None:
    for name in ("clone", "unshare"):
        assert verdict(machine, _NUMBERS[machine][name], flag | 0x100) == ERRNO | errno.EPERM
    assert verdict(machine, _NUMBERS[machine]["clone3"]) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_and_forks_pass(machine: str) -> None:
    for flags in (17, 0x003D0F00, 0x01200011, 0x4111):  # fork, pthread_create, glibc's fork, vfork
        assert verdict(machine, _NUMBERS[machine]["clone"], flags) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_limits_and_priorities_of_others_are_out_of_reach(machine: str) -> None:
    numbers, refused = _NUMBERS[machine], ERRNO | errno.EPERM
    for name in ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr"):
        assert verdict(machine, numbers[name], 0) == ALLOW
        assert verdict(machine, numbers[name], 1) == refused
    process, group, user = 0, 1, 2
    assert verdict(machine, numbers["setpriority"], process) == ALLOW
    assert verdict(machine, numbers["setpriority"], process, second=1) == refused
    assert verdict(machine, numbers["setpriority"], group) == refused
    assert verdict(machine, numbers["setpriority"], user) == refused
    process, group, user = 1, 2, 3
    assert verdict(machine, numbers["ioprio_set"], process) == ALLOW
    assert verdict(machine, numbers["ioprio_set"], process, second=1) == refused
    assert verdict(machine, numbers["ioprio_set"], user) == refused


def test_another_architectures_calls_kill() -> None:
    assert verdict("x86_64", 0, arch=0x40000003) == KILL  # 32-bit calls have other numbers
    assert verdict("x86_64", 0x40000000 | 41) == KILL  # x32


def test_an_unknown_machine_is_refused_in_words() -> None:
    with pytest.raises(EngineUnavailable, match="riscv64"):
        program("riscv64")
