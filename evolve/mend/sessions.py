"""Where the command runs: in sandboxed copies, or if a sandbox is around us already, in plain copies or the directory
itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evolve.mend.guardian import Guardian
from evolve.mend.runner import DirectExecutor, Place, PooledRunner, Runner
from evolve.mend.workspace import HEAVY, Workspace, copy_tree


@contextmanager
def session(root: Path, command: str, home: Path, jobs: int, already_sandboxed: bool) -> Iterator[Runner]:
    """A runner whose traces are gone from `root` at the end, whatever happens. Raises EnvironmentBroken."""
    if already_sandboxed and jobs == 1:
        with in_place(root, command, home) as runner:
            yield runner
        return
    runner = PooledRunner(_places(root, command, home, jobs, already_sandboxed))
    try:
        yield runner
    finally:
        runner.abort()


def _places(root: Path, command: str, home: Path, jobs: int, already_sandboxed: bool) -> list[Place]:
    if already_sandboxed:
        return [_plain_copy(root, command, home / str(number)) for number in range(jobs)]
    from evolve.mend.sandboxed import sandboxed_places  # the engine takes longer to import than all the rest

    return sandboxed_places(root, command, home, jobs)


def _plain_copy(root: Path, command: str, home: Path) -> Place:
    copy, backup, scratch = home / "copy", home / "backup", home / "scratch"
    for folder in (copy, backup):
        copy_tree(root, folder)
    for heavy in HEAVY:
        if (root / heavy).is_dir():
            (copy / heavy).symlink_to(root / heavy)
    scratch.mkdir()
    return Place(command, Workspace(copy, backup), scratch, DirectExecutor(copy, scratch), str(copy))


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
