"""Processes by identity (pid and start time), so that a reused pid is never taken for ours."""

import contextlib
import ctypes
import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import RuntimeBroken

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_NO_PROCESS = (errno.ESRCH, errno.ENOENT, errno.EINVAL)
"""How kernels say that a number names no process any more; the last two, that it names a thread by now."""


@dataclass(frozen=True)
class Stat:
    pid: int
    state: str
    parent: int
    started: int
    cpu_ticks: int
    resident_pages: int


def read_stat(pid: int) -> Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    cpu = sum(int(field) for field in fields[11:15])
    return Stat(pid, fields[0], int(fields[1]), int(fields[19]), cpu, int(fields[21]))


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def die_with_parent(number: signal.Signals) -> None:
    """For a process just forked: the kernel sends it this signal when its parent dies, however that dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


@dataclass(frozen=True)
class Identity:
    """One process of one boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        stat = read_stat(pid)
        return None if stat is None else cls(pid, stat.started, boot_id())

    def alive(self) -> bool:
        """False once it is gone or a zombie. A zombie that was PID 1 of a namespace has outlived all others
        in it."""
        if self.boot != boot_id():
            return False
        stat = read_stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in "ZXx"

    def kill(self, deadline: float) -> None:
        """SIGKILL and see it gone. Raises RuntimeBroken when it is still there at `deadline` (monotonic)."""
        self._signal(signal.SIGKILL, deadline)

    def terminate(self, deadline: float) -> bool:
        """SIGTERM; True when it went away before `deadline` (monotonic)."""
        try:
            self._signal(signal.SIGTERM, deadline)
        except RuntimeBroken:
            return False
        return True

    def reap(self) -> None:
        """Collect it if it is our own ended child; a stranger that got its number later is left alone."""
        stat = read_stat(self.pid)
        if stat is not None and stat.started == self.started and stat.parent == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)

    def wait_gone(self, deadline: float) -> bool:
        """True once it is gone; False when it still runs at `deadline` (monotonic)."""
        try:
            self._signal(None, deadline)
        except RuntimeBroken:
            return False
        return True

    def _signal(self, number: signal.Signals | None, deadline: float) -> None:
        try:
            handle = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno not in _NO_PROCESS:
                raise
            return
        try:
            if not self.alive():  # checked after the handle is open, so it can't be a successor's
                return
            if number is not None:
                signal.pidfd_send_signal(handle, number)
            left = max(0.0, deadline - time.monotonic())
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            if not poller.poll(left * 1000):
                raise RuntimeBroken(f"process {self.pid} is still there")
        except ProcessLookupError:
            return
        finally:
            os.close(handle)


def descendants(root: int) -> Iterator[Stat]:
    """`root` and all below it. Orphans of a PID namespace hang below its PID 1, so this finds every one."""
    children: dict[int, list[Stat]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (stat := read_stat(int(name))) is not None:
            children.setdefault(stat.parent, []).append(stat)
            if stat.pid == root:
                yield stat
    waiting = [root]
    while waiting:
        for stat in children.get(waiting.pop(), ()):
            yield stat
            waiting.append(stat.pid)


def usage(root: int) -> dict[str, int]:
    found = [stat for stat in descendants(root) if stat.state not in "ZXx"]
    return {
        "processes": len(found),
        "memory_bytes": sum(stat.resident_pages for stat in found) * _PAGE,
        "cpu_millis": sum(stat.cpu_ticks for stat in found) * 1000 // _TICKS,
    }
