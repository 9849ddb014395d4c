"""Where the command runs: in sandboxed copies, or in the directory itself if a sandbox is around us."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evolve.mend.guardian import Guardian
from evolve.mend.runner import DirectExecutor, Place, PooledRunner, Runner
from evolve.mend.workspace import Workspace, copy_tree


@contextmanager
def session(root: Path, command: str, home: Path, jobs: int, already_sandboxed: bool) -> Iterator[Runner]:
    """A runner whose traces are gone from `root` at the end, whatever happens. Raises EnvironmentBroken."""
    if already_sandboxed:
        with in_place(root, command, home) as runner:
            yield runner
        return
    from evolve.mend.sandboxed import sandboxed_places  # the engine takes longer to import than all the rest

    runner = PooledRunner(sandboxed_places(root, command, home, jobs))
    try:
        yield runner
    finally:
        runner.abort()


@contextmanager
def in_place(root: Path, command: str, home: Path) -> Iterator[Runner]:
    """The directory itself is worked in. A guardian puts it back even if this process is killed."""
    backup, scratch = home / "backup", home / "scratch"
    copy_tree(root, backup)
    scratch.mkdir()
    workspace = Workspace(root, backup)
    guardian = Guardian(workspace, home)
    executor = DirectExecutor(root, scratch, started=guardian.watch)
    try:
        yield PooledRunner([Place(command, workspace, scratch, executor, str(root))])
    finally:
        executor.close()
        workspace.restore(caches=True)
        guardian.dismiss()
