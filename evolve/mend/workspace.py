"""A directory that candidates are written into, and that comes back as it was."""

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HEAVY = frozenset({".git", ".hg", ".venv", "venv", "node_modules", ".tox", ".mypy_cache", ".ruff_cache"})
"""Neither copied nor watched: shown to the command as they are."""
CACHES = frozenset({"__pycache__", ".pytest_cache"})

Stamp = tuple[int, int, int]
"""Size, mtime in ns and mode."""


@dataclass(frozen=True)
class Listing:
    """Every file, link and folder below a root, heavy folders left out."""

    files: Mapping[str, Stamp]
    folders: frozenset[str]


def listing(root: Path) -> Listing:
    files: dict[str, Stamp] = {}
    folders: set[str] = set()
    todo = [""]
    while todo:
        at = todo.pop()
        with os.scandir(root / at) as entries:
            for entry in entries:
                name = f"{at}/{entry.name}" if at else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in HEAVY:
                        folders.add(name)
                        todo.append(name)
                    continue
                found = entry.stat(follow_symlinks=False)
                files[name] = (found.st_size, found.st_mtime_ns, found.st_mode)
    return Listing(files, frozenset(folders))


def copy_tree(source: Path, target: Path) -> None:
    """A copy with times, modes and links, heavy folders left out."""
    shutil.copytree(
        source,
        target,
        symlinks=True,
        ignore=lambda _, names: [n for n in names if n in HEAVY],
        dirs_exist_ok=True,
    )


class Workspace:
    """`root` is worked in; `backup` holds what it looked like. `write` a candidate, run, `restore`."""

    def __init__(self, root: Path, backup: Path) -> None:
        self.root, self.backup = root, backup
        self.original = listing(root)
        self._clock = 0

    def write(self, files: Mapping[str, bytes]) -> None:
        """Each write gets a time of its own in whole seconds: a bytecode cache that looks at size and time
        must not take one candidate for another."""
        for name in sorted(files):
            path = self.root / name
            path.write_bytes(files[name])
            self._clock += 1
            seconds = self.original.files[name][1] // 10**9 + self._clock
            os.utime(path, (seconds, seconds))

    def restore(self, *, caches: bool = False) -> None:
        """Undo everything that the run left behind, bytecode and pytest caches only if asked."""
        now = listing(self.root)
        for name in sorted(set(now.files) - set(self.original.files)):
            if caches or not CACHES & set(name.split("/")):
                (self.root / name).unlink(missing_ok=True)
        for name in sorted(now.folders - self.original.folders, reverse=True):
            if caches or not CACHES & set(name.split("/")):
                shutil.rmtree(self.root / name, ignore_errors=True)
        for name in sorted(self.original.folders - now.folders):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            shutil.copystat(self.backup / name, self.root / name)
        for name, stamp in self.original.files.items():
            if now.files.get(name) != stamp:
                self._put_back(name)

    def _put_back(self, name: str) -> None:
        path, kept = self.root / name, self.backup / name
        if path.is_symlink() or (path.exists() and not stat.S_ISREG(path.lstat().st_mode)):
            path.unlink()
        shutil.copy2(kept, path, follow_symlinks=False)
