"""The sandbox in which operators' graders run: no network, none of the host but interpreter and system
libraries.

Candidates' data is hostile and graders parse it; so they run neither in our process nor where a
candidate ran. One warm instance serves all Python graders of a set and forks per question; a shell
grader gets an instance of its own.
"""

import contextlib
import json
import math
import os
import secrets
import select
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from containers.runtime import Instance, InstanceSpec, Limits, Mount, Runtime
from trial.graders.base import GraderBroken

LIMITS = Limits(processes=64, memory_bytes=1 << 30, file_bytes=64 << 20)
MAX_LINE = 1 << 16
START_SECONDS = 30.0
_RUNNER = Path(__file__).with_name("runner.py")


Question = Callable[[str], Mapping[str, object]]
"""Told where the exported folder will be found, it gives what the grader is told."""


class GraderSandbox:
    """Thread-safe. `workdir` holds `code` (what graders execute) and `box` (what they judge)."""

    def __init__(self, runtime: Runtime, workdir: Path) -> None:
        self._runtime = runtime
        self.code, self._box = workdir / "code", workdir / "box"
        for folder in (self.code, self._box):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_RUNNER, self.code / "runner.py")
        (self.code / "runner.py").chmod(0o644)
        self._lock = threading.Lock()
        # A sandbox dies with the thread that started it, so one thread starts them all and lives as long as
        # this.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="grader")
        self._warm: Instance | None = None
        self._rest = b""

    def ask(self, question: Question, files: Path, timeout: float) -> tuple[float, str]:
        """Put one question to a Python grader: (score, reason). `files` are shown to it as a copy."""
        with self._lock, self.boxed(files) as name:
            ident = secrets.token_hex(16)
            asked = {**question(f"/box/{name}/files"), "id": ident, "timeout": timeout}
            try:
                line = self._exchange(
                    json.dumps(asked).encode() + b"\n", time.monotonic() + timeout + START_SECONDS
                )
                return parse_answer(line, ident)
            except GraderBroken:
                self._end()
                raise

    def run(
        self, argv: tuple[str, ...], folder: str, documents: Question, files: Path, timeout: float
    ) -> tuple[int | None, str]:
        """Run a command in an instance of its own: (exit code or None after `timeout`, end of its output)."""
        with self.boxed(files) as name:
            for document, value in documents("/in/files").items():
                path = self._box / name / document
                path.write_text(json.dumps(value))
                path.chmod(0o644)
            spec = InstanceSpec(
                name=f"grader-{secrets.token_hex(8)}",
                role="grader",
                argv=argv,
                env={"CASE": "/in/case.json", "REPLAY": "/in/replay.json", "FILES": "/in/files"},
                mounts=(Mount(self._box / name, "/in"), Mount(self.code / folder, "/grader")),
                labels={"role": "grader"},
                limits=LIMITS,
                workdir="/grader",
                host_tools=True,
            )
            return self._starter.submit(self._run_to_end, spec, timeout).result()

    @contextmanager
    def boxed(self, files: Path) -> Iterator[str]:
        """A fresh folder in the box with a copy of the exported regular files; links were never exported
        and are not followed."""
        name = secrets.token_hex(8)
        target = self._box / name
        try:
            copy_regular(files, target / "files")
            target.chmod(0o755)
            yield name
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def close(self) -> None:
        with self._lock:
            self._end()
        self._starter.shutdown(wait=True)

    def _run_to_end(self, spec: InstanceSpec, timeout: float) -> tuple[int | None, str]:
        instance = self._runtime.start(None, spec)
        try:
            code = instance.wait(timeout)
            return code, self._runtime.logs(instance, 2000)
        finally:
            self._runtime.kill(instance)
            self._runtime.remove(instance)

    def _start(self) -> Instance:
        spec = InstanceSpec(
            name=f"grader-{secrets.token_hex(8)}",
            role="grader",
            argv=("python", "-I", "-S", "/code/runner.py"),
            mounts=(Mount(self.code, "/code"), Mount(self._box, "/box")),
            labels={"role": "grader"},
            limits=LIMITS,
            workdir="/tmp",
            interactive=True,
        )
        return self._starter.submit(self._runtime.start, None, spec).result()

    def _exchange(self, data: bytes, deadline: float) -> bytes:
        if self._warm is None:
            self._warm, self._rest = self._start(), b""
        stdin, stdout = self._warm.stdin, self._warm.stdout
        if stdin is None or stdout is None:
            raise GraderBroken("the grader sandbox has no pipes")
        try:
            while data:
                data = data[stdin.write(data) :]
        except (OSError, ValueError) as error:  # its pipes are closed with it
            raise GraderBroken(f"the grader sandbox is gone ({error})") from None
        poller = select.poll()
        poller.register(stdout, select.POLLIN)
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                raise GraderBroken("the grader sandbox did not answer in time")
            chunk = os.read(stdout.fileno(), 65536)
            if not chunk or len(self._rest) > MAX_LINE:
                raise GraderBroken("the grader sandbox went away or said too much")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        if self._rest:
            raise GraderBroken("the grader sandbox said more than it was asked")
        return line

    def _end(self) -> None:
        instance, self._warm = self._warm, None
        if instance is not None:
            self._runtime.kill(instance)
            self._runtime.remove(instance)


def parse_answer(line: bytes, ident: str) -> tuple[float, str]:
    """(score, reason) of one answer line. Raises GraderBroken for everything that is not a whole, sane
    answer to this very question: cut, padded, twice, out of range, of another question."""
    try:
        answer = json.loads(line, parse_constant=_refuse, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise GraderBroken(f"the grader's answer can't be read: {error}"[:300]) from None
    if not isinstance(answer, dict) or answer.get("id") != ident:
        raise GraderBroken("the grader answered another question")
    if "broken" in answer:
        raise GraderBroken(f"the grader is broken: {answer['broken']}"[:500])
    score, reason = answer.get("score"), answer.get("reason")
    if set(answer) != {"id", "score", "reason"} or not isinstance(reason, str):
        raise GraderBroken("the grader's answer is not of the agreed form")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise GraderBroken("the grader's score is no number")
    if not 0 <= score <= 1:
        raise GraderBroken(f"the grader's score {score} lies outside [0, 1]")
    return float(score), reason


def copy_regular(source: Path, target: Path) -> None:
    """Copy a tree's regular files, world-readable; whatever else lies in it is left out."""
    target.mkdir(parents=True)
    target.chmod(0o755)
    if not source.is_dir():
        return
    for here, folders, names, handle in os.fwalk(source):
        inside = target / Path(here).relative_to(source)
        for folder in folders:
            if stat.S_ISDIR(os.stat(folder, dir_fd=handle, follow_symlinks=False).st_mode):
                (inside / folder).mkdir(mode=0o755)
        for name in names:
            _copy_file(handle, name, inside / name)


def _copy_file(folder: int, name: str, target: Path) -> None:
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb") as read, target.open("wb") as write:
            shutil.copyfileobj(read, write)
        target.chmod(0o644)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
