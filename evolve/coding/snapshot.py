"""A coder's tree at one moment, laid out where the coder can't reach it, for a replay to look at.

The coder may write while we read, so nothing is opened through a link, and what is replayed is the copy.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

LEFT_OUT = frozenset({".git", "__pycache__"})
MAX_FILES = 20_000
MAX_BYTES = 256 << 20

Files = dict[str, tuple[bytes, bool]]
"""Path below the root -> (content, executable)."""


class Unusable(ValueError):
    """This tree can't be replayed; says why."""


def read_tree(root: Path) -> Files:
    """The regular files of `root`; links, special files, `.git` and bytecode left out. Raises Unusable when it is too
    large."""
    found: Files = {}
    size = 0
    for folder, names, files, descriptor in os.fwalk(root, follow_symlinks=False):
        names[:] = [name for name in names if name not in LEFT_OUT]
        for name in files:
            content = _regular_file(name, descriptor)
            if content is not None:
                found[Path(folder, name).relative_to(root).as_posix()] = content
                size += len(content[0])
            if size > MAX_BYTES or len(found) > MAX_FILES:
                raise Unusable(f"the tree holds more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB")
    return found


def _regular_file(name: str, folder: int) -> tuple[bytes, bool] | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None  # a link, or gone meanwhile
    with open(descriptor, "rb") as stream:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return None
        return stream.read(MAX_BYTES + 1), bool(info.st_mode & stat.S_IXUSR)


def with_changes(files: Files, changes: Mapping[str, bytes | None]) -> Files:
    """`files` with some replaced, added, or (None) removed. Raises Unusable for a path that leaves the tree."""
    result = dict(files)
    for name, content in changes.items():
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or LEFT_OUT & set(parts) or "\0" in name:
            raise Unusable(f"{name!r} is no path below the repository")
        key = "/".join(parts)
        if content is None:
            result.pop(key, None)
        else:
            result[key] = (content, result[key][1] if key in result else False)
    return result


def digest_of(files: Files) -> str:
    """Hash of names, modes and bytes."""
    total = hashlib.sha256()
    for name in sorted(files):
        content, executable = files[name]
        total.update(os.fsencode(name) + (b"\0x" if executable else b"\0-"))
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


class Layout:
    """A folder that shows one snapshot after another; only what differs from the one before is written.

    What the folder holds at first is a trusted image's export. Its bytecode is shown beside each source that is still the
    same, and never beside another.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._shown = read_tree(folder)
        self._first = dict(self._shown)
        self._bytecode = {path: path.read_bytes() for path in folder.rglob("__pycache__/*.pyc")}

    def show(self, files: Files) -> None:
        """Make the folder hold exactly `files`. Raises Unusable when a file stands where a folder should be."""
        for name in self._shown.keys() - files.keys():
            self._remove(name)
        for name, (content, executable) in files.items():
            if self._shown.get(name) == (content, executable):
                continue
            path = self.folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError as error:
                raise Unusable(f"{name}: {error.strerror}") from None
            path.chmod(0o755 if executable else 0o644)
            self._shown[name] = (content, executable)
            self._mind_bytecode(name)

    def _remove(self, name: str) -> None:
        (self.folder / name).unlink()
        del self._shown[name]
        self._mind_bytecode(name)
        for parent in (self.folder / name).parents:
            if parent == self.folder or any(parent.iterdir()):
                break
            parent.rmdir()

    def _mind_bytecode(self, name: str) -> None:
        source = self.folder / name
        same = self._shown.get(name) == self._first.get(name)
        folder = source.parent / "__pycache__"
        for path in [path for path in self._bytecode if path.parent == folder]:
            if path.name.partition(".")[0] != source.stem or source.suffix != ".py":
                continue
            if same:
                folder.mkdir(exist_ok=True)
                path.write_bytes(self._bytecode[path])
            else:
                path.unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
