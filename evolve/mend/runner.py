"""Runs the test command on candidates: how it is run is an `Executor`'s business, what it said ours."""

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evolve.mend.outcome import Outcome, read_junit, read_results
from evolve.mend.workspace import Workspace

INJECTED = Path(__file__).parent / "inject"
PLUGIN = "evolve_mend_plugin"
TAIL = 64 << 10


class EnvironmentBroken(Exception):
    """The command can't be run at all here; says why and the way out."""


class Executor(Protocol):
    """Starts one command line in a directory and waits for it."""

    inside: Path
    """Where the runner's scratch folder is, seen by the command."""
    injected: Path
    """Where our injected scripts are, seen by the command."""

    def environment(self) -> dict[str, str]:
        """What the command sees of the caller's environment."""

    def run(self, command: str, env: Mapping[str, str], timeout: float) -> tuple[int | None, str]:
        """Exit code (None at the time limit) and the end of the output. Raises EnvironmentBroken."""

    def close(self) -> None:
        """End the command that runs now, if one does; also from another thread."""


class Runner(Protocol):
    """What the search needs."""

    jobs: int

    def run(
        self,
        files: Mapping[str, bytes],
        *,
        first: Sequence[str] = (),
        limit: float = 600.0,
        coverage: Path | None = None,
    ) -> Outcome:
        """The command's outcome on the repository with `files` changed. Safe to call from `jobs` threads."""

    def abort(self) -> None:
        """End every command that runs; its outcome is worth nothing."""


@dataclass
class DirectExecutor:
    """No sandbox of our own: for use inside one."""

    directory: Path
    inside: Path
    injected: Path = INJECTED
    started: Callable[[int], None] = lambda pid: None
    _process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def run(self, command: str, env: Mapping[str, str], timeout: float) -> tuple[int | None, str]:
        with tempfile.TemporaryFile() as output:
            process = self._process = subprocess.Popen(
                ["/bin/sh", "-c", command], cwd=self.directory, env=dict(env), stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            self.started(process.pid)
            try:
                code = process.wait() if _ends(process, timeout) else None
            finally:
                _kill_group(process)
                self._process = None
            output.seek(0, os.SEEK_END)
            output.seek(max(0, output.tell() - TAIL))
            return code, output.read().decode("utf-8", "replace")

    def close(self) -> None:
        process = self._process
        if process is not None:
            _kill_group(process)


def _ends(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether it ends in time; told by the kernel at once, where `Popen.wait` would look every 50 ms."""
    handle = os.pidfd_open(process.pid)
    try:
        return bool(select.select([handle], [], [], timeout)[0])
    finally:
        os.close(handle)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass
class Place:
    """One directory to run in, with its scratch folder. Used by one thread at a time."""

    command: str
    workspace: Workspace
    scratch: Path
    executor: Executor
    root: str
    plugin: bool = True
    """Whether pytest is asked to load our plugin."""

    def run(
        self, files: Mapping[str, bytes], first: Sequence[str], limit: float, coverage: Path | None
    ) -> Outcome:
        self.workspace.write(files)
        try:
            outcome = self._command(first, limit, coverage)
            if "{tests}" in self.command and first and outcome.passed:
                outcome = self._command((), limit, coverage)
        finally:
            self.workspace.restore()
        return outcome

    def _command(self, first: Sequence[str], limit: float, coverage: Path | None) -> Outcome:
        results, junit, spectrum = (self.scratch / n for n in ("results.jsonl", "junit.xml", "spectrum.tsv"))
        for path in (results, junit, spectrum):
            path.unlink(missing_ok=True)
        chosen = " ".join(shlex.quote(test) for test in first)
        command = self.command.replace("{junit}", shlex.quote(str(self.executor.inside / junit.name)))
        env = self._environment(first, results, spectrum if coverage is not None else None)
        start = time.monotonic()
        code, output = self.executor.run(command.replace("{tests}", chosen), env, limit)
        if coverage is not None and spectrum.exists():
            shutil.copyfile(spectrum, coverage)
        if self.plugin and f"No module named '{PLUGIN}'" in output:
            self.plugin = False  # an isolated interpreter (-I, -E) takes our options and not our path
            return self._command(first, limit, coverage)
        tests = read_results(results) or read_junit(junit)
        return Outcome(code, time.monotonic() - start, tests, output)

    def _environment(self, first: Sequence[str], results: Path, spectrum: Path | None) -> dict[str, str]:
        env = self.executor.environment()
        inside = self.executor.inside
        paths = [str(self.executor.injected), *filter(None, [env.get("PYTHONPATH")])]
        env |= {"PYTHONPATH": os.pathsep.join(paths), "MEND_ROOT": self.root}
        env["MEND_RESULTS"] = str(inside / results.name)
        if self.plugin:
            env["PYTEST_ADDOPTS"] = f"{env.get('PYTEST_ADDOPTS', '')} -p {PLUGIN}".strip()
        if first:
            (self.scratch / "first.json").write_text(json.dumps(sorted(first)), "utf-8")
            env["MEND_FIRST"] = str(inside / "first.json")
        if spectrum is not None:
            env["MEND_COVERAGE"] = str(inside / spectrum.name)
        return env


class PooledRunner:
    """One or more places; each run takes a free one."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.jobs = len(places)
        self.root = places[0].root
        self.places = tuple(places)
        self._free = list(places)
        self._turn = threading.Condition()

    def run(
        self,
        files: Mapping[str, bytes],
        *,
        first: Sequence[str] = (),
        limit: float = 600.0,
        coverage: Path | None = None,
    ) -> Outcome:
        with self._turn:
            self._turn.wait_for(lambda: self._free)
            place = self._free.pop(0)
        try:
            return place.run(files, first, limit, coverage)
        finally:
            with self._turn:
                self._free.insert(0, place)
                self._turn.notify()

    def abort(self) -> None:
        """End every command that runs; its outcome is worth nothing."""
        for place in self.places:
            place.executor.close()
