"""PID 1's loop: reaps, pumps output into a capped log, minds the wall clock, the lifeline and SIGTERM."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time

from .boot import EXIT_WALL

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from typing import NoReturn

TAIL_BYTES = 65536


class Keeper:
    """One per sandbox. `leader` is the child whose end is the sandbox's (or the case's) end."""

    def __init__(self, log_fd: int, log_cap: int, lifeline: int | None, wall_seconds: float | None) -> None:
        self.leader: int | None = None
        self.leader_exit: int | None = None
        self.terminated = False
        self.lines = bytearray()
        self.tail = bytearray()
        self.stdin_open = False
        self._log_fd, self._log_cap = log_fd, log_cap
        self._lifeline = lifeline
        self._wall = wall_seconds
        self._deadline = None if wall_seconds is None else time.monotonic() + wall_seconds
        self._outputs: set[int] = set()
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(wake_write, False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def watch_output(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._outputs.add(descriptor)

    def start_leader(self, pid: int) -> None:
        self.leader, self.leader_exit = pid, None

    def pump(self, timeout: float | None) -> None:
        """Wait at most `timeout` for anything to happen and deal with it. Exits when the lifeline or wall
        clock ends."""
        readers = {self._wake_read, *self._outputs}
        if self._lifeline is not None:
            readers.add(self._lifeline)
        if self.stdin_open:
            readers.add(0)
        ready = select.select(readers, [], [], self._patience(timeout))[0]
        if self._wake_read in ready:
            self._take_signals()
        for descriptor in self._outputs.intersection(ready):
            self._take_output(descriptor)
        if self.stdin_open and 0 in ready:
            chunk = os.read(0, 65536)
            self.stdin_open = bool(chunk)
            self.lines += chunk
        if self._lifeline in ready and not (self._lifeline == 0 and self.stdin_open):
            self.leave(137, "the caller went away")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.leave(EXIT_WALL, f"wall limit of {self._wall:g} s reached")

    def kill_all(self) -> None:
        """SIGKILL everything but PID 1 and reap until nothing is left; every orphan is our child by then."""
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            try:
                self._reaped(*os.waitpid(-1, 0))
            except ChildProcessError:
                break
        for descriptor in list(self._outputs):
            while self._take_output(descriptor):
                continue
            if descriptor in self._outputs:
                self._drop_output(descriptor)

    def leave(self, code: int, why: str = "") -> NoReturn:
        if why:
            self.log(f"[shim] {why}\n".encode())
        self.kill_all()
        os._exit(code)

    def log(self, data: bytes) -> None:
        """Append to the log; beyond the cap the older half goes, and the log says so."""
        try:
            if os.fstat(self._log_fd).st_size + len(data) > self._log_cap:
                keep = self._log_cap // 2
                size = os.fstat(self._log_fd).st_size
                old = os.pread(self._log_fd, keep, max(0, size - keep))
                os.ftruncate(self._log_fd, 0)
                os.write(self._log_fd, b"[shim] earlier output was cut here\n" + old)
            os.write(self._log_fd, data[-self._log_cap // 2 :])
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise

    def _patience(self, timeout: float | None) -> float | None:
        if self._deadline is None:
            return timeout
        left = max(0.0, self._deadline - time.monotonic())
        return left if timeout is None else min(left, timeout)

    def _take_signals(self) -> None:
        try:
            numbers = os.read(self._wake_read, 512)
        except BlockingIOError:
            return
        if signal.SIGTERM in numbers:
            self.terminated = True
        if signal.SIGCHLD in numbers:
            self.reap()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._reaped(pid, status)

    def _reaped(self, pid: int, status: int) -> None:
        if pid == self.leader:
            code = os.waitstatus_to_exitcode(status)
            self.leader, self.leader_exit = None, code if code >= 0 else 128 - code

    def _take_output(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._drop_output(descriptor)
            return False
        self.log(data)
        self.tail += data
        del self.tail[:-TAIL_BYTES]
        return True

    def _drop_output(self, descriptor: int) -> None:
        self._outputs.discard(descriptor)
        os.close(descriptor)
