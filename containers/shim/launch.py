"""`@launch`: replays case after case in forks of one preloaded interpreter, each from fresh state.

One JSON object a line on standard input, one on standard output. After the answer to `end` come the bytes of the files that
it lists, one after the other, and so after a `begin` that lists files: no folder of the host is there for a case to see or
to fill. SIGTERM means nothing here, for a case may have sent it, also in its last moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import time

from . import child, files
from .keeper import Keeper
from .serve import beat

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from typing import Any

AGENT_SOCKET = "/run/agent/agent.sock"
COVERAGE = "/tmp/.coverage.json"
STATE = "/state"
FRESH = (STATE, "/tmp", "/run/agent", "/dev/shm")
DRAIN_SECONDS = 3.0
MAX_LINE = 1 << 20


class Launcher:
    def __init__(self, keeper: Keeper, config: dict[str, Any], env: dict[str, str]) -> None:
        self._keeper, self._config, self._env = keeper, config, env
        self._reply = os.dup(1)
        os.set_inheritable(self._reply, False)
        null = os.open("/dev/null", os.O_WRONLY)
        os.dup2(null, 1)  # a stray print can't garble the protocol
        os.close(null)
        self._coverage = False
        self._begun = False
        self._to_send: list[tuple[str, int]] = []

    def run(self) -> int:
        operations = {"begin": self._begin, "run": self._run, "mark": self._mark, "end": self._end}
        self._keeper.stdin_open = True
        while (request := self._request()) is not None:
            if request["op"] == "quit":
                break
            answer = operations[request["op"]](request)
            self._answer((json.dumps(answer) + "\n").encode())
            if request["op"] == "end":
                self._send_files()
        return 0

    def _answer(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._reply, line) :]

    def _request(self) -> dict[str, Any] | None:
        lines = self._keeper.lines
        while (end := lines.find(b"\n")) < 0:
            if not self._keeper.stdin_open or len(lines) > MAX_LINE:
                return None
            self._keeper.pump(None)
        line = bytes(lines[:end])
        del lines[: end + 1]
        request: dict[str, Any] = json.loads(line)
        return request

    def _spawn(self, argv: list[str], env: dict[str, str], coverage: bool) -> None:
        self._keeper.tail.clear()
        reader, writer = os.pipe()
        self._keeper.watch_output(reader)
        pid = child.spawn(
            argv,
            {**self._env, **env},
            self._config["workdir"],
            self._config["limits"],
            output=writer,
            errors=writer,
            in_process=True,
            trace_into=COVERAGE if coverage else None,
        )
        os.close(writer)
        self._keeper.start_leader(pid)

    def _begin(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fresh()
        for name, size in request.get("state", ()):
            self._take_file(os.path.join(STATE, name), size)
        self._begun, self._coverage = True, bool(request.get("coverage"))
        if request.get("prepare") and (code := self._run_out(request, request["prepare"])) != 0:
            return {"ok": False, "exit": code, "output": self._tail()}
        self._spawn(request.get("command") or self._config["command"], request.get("env", {}), self._coverage)
        beat({**self._env, **request.get("env", {})}, self._keeper.leader)
        deadline = time.monotonic() + float(request.get("ready_timeout", 60.0))
        pause = 0.001
        while self._keeper.leader is not None:
            if _accepts():
                return {"ok": True}
            if time.monotonic() > deadline:
                return {"ok": False, "exit": None, "output": self._tail() + "\n[shim] never listened"}
            self._keeper.pump(pause)
            pause = min(pause * 1.1, 0.02)
        code = self._keeper.leader_exit
        self._keeper.kill_all()
        return {"ok": False, "exit": code, "output": self._tail()}

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._begun:
            return {"ok": False, "error": "a case is open: end it first"}
        self._fresh()
        code = self._run_out(request, request["argv"])
        answer = {"ok": True, "exit": code, "output": self._tail()}
        self._fresh()
        return answer

    def _run_out(self, request: dict[str, Any], argv: list[str]) -> int | None:
        """The exit code of a command; None: it did not end in time. Nothing of it runs afterwards."""
        self._spawn(argv, request.get("env", {}), False)
        deadline = time.monotonic() + float(request["timeout"])
        while self._keeper.leader is not None and (left := deadline - time.monotonic()) > 0:
            self._keeper.pump(left)
        timed_out = self._keeper.leader is not None
        self._keeper.kill_all()
        return None if timed_out else self._keeper.leader_exit

    def _take_file(self, path: str, size: int) -> None:
        """From standard input, where what the caller sends is waited for."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lines = self._keeper.lines
        with open(path, "wb") as file:
            while size > 0:
                if not lines:
                    if not self._keeper.stdin_open:
                        self._keeper.leave(137, "the caller went away")
                    self._keeper.pump(None)
                part = lines[:size]
                file.write(part)
                del lines[: len(part)]
                size -= len(part)
        os.chmod(path, 0o600)

    def _mark(self, request: dict[str, Any]) -> dict[str, Any]:
        """Coverage counts from here on."""
        marker = COVERAGE + ".marked"
        if self._keeper.leader is None or not self._coverage:
            return {"ok": False, "error": "no traced case is open"}
        if os.path.exists(marker):
            os.unlink(marker)
        os.kill(self._keeper.leader, signal.SIGUSR2)
        deadline = time.monotonic() + DRAIN_SECONDS
        while not os.path.exists(marker):
            if time.monotonic() > deadline or self._keeper.leader is None:
                return {"ok": False, "error": "the service does not take signals"}
            self._keeper.pump(0.005)
        return {"ok": True}

    def _end(self, request: dict[str, Any]) -> dict[str, Any]:
        keeper = self._keeper
        if keeper.leader is not None and (self._coverage or request.get("drain")):
            os.kill(keeper.leader, signal.Signals[self._config["drain_signal"]])
            deadline = time.monotonic() + DRAIN_SECONDS
            while keeper.leader is not None and (left := deadline - time.monotonic()) > 0:
                keeper.pump(left)
        keeper.reap()
        peak, descriptors = _used(keeper.leader)
        tasks = None if keeper.leader is None else _tasks()
        code = keeper.leader_exit if keeper.leader is None else None
        keeper.kill_all()
        self._begun = False
        left_behind, truncated = files.listing(STATE, files.EXPORT_BYTES)
        self._to_send = [(os.path.join(STATE, name), size) for name, size in left_behind]
        coverage = self._coverage_size()
        if coverage is not None:
            self._to_send.append((COVERAGE, coverage))
        return {
            "ok": True,
            "exit": code,
            "output": self._tail(),
            "peak_bytes": peak,
            "open_files": descriptors,
            "tasks": tasks,
            "files": left_behind,
            "coverage": coverage,
            "truncated": truncated,
        }

    def _coverage_size(self) -> int | None:
        """None: not asked for, or the service died before it could write it."""
        if not self._coverage:
            return None
        try:
            found = os.lstat(COVERAGE)
        except OSError:
            return None
        return (
            found.st_size if stat.S_ISREG(found.st_mode) and found.st_size <= files.COVERAGE_BYTES else None
        )

    def _send_files(self) -> None:
        for path, size in self._to_send:
            files.send(path, size, self._reply)
        self._to_send = []
        self._fresh()

    def _fresh(self) -> None:
        self._keeper.kill_all()
        for folder in FRESH:
            files.wipe(folder)

    def _tail(self) -> str:
        return self._keeper.tail.decode("utf-8", "replace")


def _used(pid: int | None) -> tuple[int | None, int | None]:
    """The most memory that a process has held, in bytes, and its open descriptors now."""
    if pid is None:
        return None, None
    try:
        with open(f"/proc/{pid}/status") as status:
            peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        return int(peak) * 1024, len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, StopIteration, ValueError):
        return None, None


def _tasks() -> int:
    """Threads of all processes but PID 1."""
    found = 0
    for pid in os.listdir("/proc"):
        if pid.isdigit() and pid != "1":
            with contextlib.suppress(OSError):
                found += len(os.listdir(f"/proc/{pid}/task"))
    return found


def _accepts() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(AGENT_SOCKET)
        except OSError:
            return False
        return True
