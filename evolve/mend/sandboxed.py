"""The test command in a sandbox of `containers`: a copy of the repository over its own path, no network."""

import itertools
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from containers.engine import get_runtime
from containers.runtime import (
    EngineUnavailable,
    Instance,
    InstanceSpec,
    Limits,
    Mount,
    Runtime,
    RuntimeBroken,
)
from evolve.mend.runner import INJECTED, TAIL, EnvironmentBroken, Place
from evolve.mend.workspace import HEAVY, Workspace, copy_tree

SCRATCH, SCRIPTS = Path("/mend"), Path("/mend-scripts")
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "PYTHONPATH")
"""The only variables of the caller's environment that the command sees."""
PAUSES = (0.2, 1.0)
SYSTEM = ("/usr", "/bin", "/sbin", "/lib")


class SandboxExecutor:
    """One instance per run: nothing that a candidate leaves running reaches the next."""

    inside, injected = SCRATCH, SCRIPTS

    def __init__(self, runtime: Runtime, name: str, directory: str, mounts: tuple[Mount, ...]) -> None:
        self._runtime, self._name, self._directory, self._mounts = runtime, name, directory, mounts
        self._numbers = itertools.count()
        self._running: Instance | None = None

    def environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in KEPT if name in os.environ}

    def run(self, command: str, env: Mapping[str, str], timeout: float) -> tuple[int | None, str]:
        spec = InstanceSpec(
            name=f"{self._name}-{next(self._numbers)}",
            role="coder",
            argv=("/bin/sh", "-c", command),
            env={**env, "PYTHONDONTWRITEBYTECODE": ""},
            mounts=self._mounts,
            labels={"role": "mend"},
            limits=Limits(memory_bytes=2 << 30, wall_seconds=timeout + 5),
            workdir=self._directory,
            host_tools=True,
        )
        try:
            instance = self._running = self._start(spec)
            try:
                code = instance.wait(timeout)
            finally:
                self._running = None
                self._runtime.kill(instance)
                output = self._runtime.logs(instance, TAIL)
                self._runtime.remove(instance)
        except RuntimeBroken as problem:
            raise EnvironmentBroken(f"the sandbox can't run: {problem}") from problem
        return code, output

    def _start(self, spec: InstanceSpec) -> Instance:
        """A machine under load refuses now and then: asked again before the search is given up."""
        for pause in PAUSES:
            try:
                return self._runtime.start(None, spec)
            except EngineUnavailable:
                raise
            except RuntimeBroken:
                time.sleep(pause)
        return self._runtime.start(None, spec)

    def close(self) -> None:
        """End what runs now."""
        instance = self._running
        if instance is not None:
            self._runtime.kill(instance)


def sandboxed_places(root: Path, command: str, home: Path, jobs: int) -> list[Place]:
    """Copies of `root`, each with its own sandbox. Raises EnvironmentBroken."""
    try:
        runtime = get_runtime("auto", home / "runtime")
    except RuntimeBroken as problem:
        raise EnvironmentBroken(str(problem)) from problem
    backup = home / "backup"
    copy_tree(root, backup)
    places: list[Place] = []
    for number in range(jobs):
        copy, scratch = home / f"copy-{number}", home / f"scratch-{number}"
        copy_tree(backup, copy)
        scratch.mkdir()
        mounts = [Mount(copy, str(root), writable=True), Mount(scratch, str(SCRATCH), writable=True)]
        mounts += [Mount(INJECTED, str(SCRIPTS)), *_tools(root), *_parents(root, home)]
        executor = SandboxExecutor(runtime, f"mend-{os.getpid()}-{number}", str(root), tuple(mounts))
        places.append(Place(command, Workspace(copy, backup), scratch, executor, str(root)))
    return places


def _parents(root: Path, home: Path) -> Iterator[Mount]:
    """Folders above the repository that everybody may enter: those made by the engine in /tmp are closed."""
    if len(root.parts) > 3 and root.parts[1] == "tmp":
        top, *rest = root.parts[2:]
        bones = home / "parents"
        bones.joinpath(*rest).mkdir(parents=True, exist_ok=True)
        yield Mount(bones, f"/tmp/{top}")


def _tools(root: Path) -> Iterator[Mount]:
    """Read-only: our interpreter, those on the PATH outside of the system, the repository's heavy folders."""
    prefixes: dict[Path, None] = {Path(sys.prefix): None, Path(sys.base_prefix): None}
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        for name in ("python3", "python", "pytest"):
            tool = Path(entry) / name
            if entry and os.access(tool, os.X_OK):
                prefixes |= {tool.parent.parent: None, tool.resolve().parent.parent: None}
    for heavy in sorted(HEAVY):
        if (root / heavy).is_dir():
            prefixes[root / heavy] = None
    for prefix in prefixes:
        system = any(prefix.is_relative_to(folder) for folder in SYSTEM)
        covers = root.is_relative_to(prefix) or prefix == Path("/")
        if not system and not covers and prefix.is_dir():
            yield Mount(prefix, str(prefix))
