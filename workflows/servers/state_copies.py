"""Copies of the files and folders that hold a server's state, and putting them back."""

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")
"""SQLite keeps a part of a database in files beside it: an old database with a new journal is a broken one."""


class StateError(OSError):
    """A path can't be copied or put back."""


class StateCopies:
    """Taken when it is made. A folder is emptied and filled again, so that whoever stands in it stays in it."""

    def __init__(self, paths: Iterable[str], folder: Path) -> None:
        """Copies go into `folder`, which has to be empty. Raises StateError."""
        self._folder = folder
        self._places = [(path, path.parent) for path in _all(paths)]
        for index, (path, _) in enumerate(self._places):
            try:
                _copy(path, folder / str(index))
            except (OSError, shutil.Error) as error:
                raise StateError(f"{path} can't be copied: {error}") from error

    def put_back(self) -> None:
        """As they were when the copies were taken; what was not there goes. Whoever writes there has to be stopped. Raises
        StateError, also where a folder on the way has become a link elsewhere: what is there is not ours."""
        for index, (path, parent) in enumerate(self._places):
            try:
                if parent.resolve() != parent:
                    raise StateError(f"{path} leads elsewhere now: {parent.resolve() / path.name}")
                _restore(self._folder / str(index), path)
            except (OSError, shutil.Error) as error:
                raise (
                    error
                    if isinstance(error, StateError)
                    else StateError(f"{path} can't be put back: {error}")
                ) from error


def _all(paths: Iterable[str]) -> list[Path]:
    """Each once and without links, with what stands beside a database; none that is within another."""
    found: set[Path] = set()
    for path in (Path(os.path.realpath(name)) for name in paths):
        found.add(path)
        if not path.is_dir():
            found |= {path.with_name(path.name + ending) for ending in BESIDE_A_DATABASE}
    return sorted(path for path in found if not any(parent in found for parent in path.parents))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        shutil.copy2(source, target)


def _restore(copy: Path, path: Path) -> None:
    if not copy.is_dir():
        _remove(path)
        if copy.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copy, path)
        return
    if path.is_symlink() or not path.is_dir():
        _remove(path)
        path.mkdir(parents=True)
    for entry in path.iterdir():
        _remove(entry)
    shutil.copytree(copy, path, symlinks=True, dirs_exist_ok=True)


def _remove(path: Path) -> None:
    """Never through a link."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()
