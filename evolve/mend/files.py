"""Which files may be edited, and writing the result."""

import fnmatch
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from evolve.mend.workspace import HEAVY

TEST_FOLDERS = frozenset({"tests", "test", "testing"})
MAX_BYTES = 400_000


def editable(root: Path, globs: Sequence[str]) -> dict[str, bytes]:
    """Python files below `root`: those that match a glob, or without globs all but tests and hidden ones."""
    found: dict[str, bytes] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in HEAVY and f != "__pycache__")
        for name in sorted(names):
            path = Path(folder) / name
            relative = path.relative_to(root).as_posix()
            wanted = name.endswith(".py") and _wanted(relative, globs) and not path.is_symlink()
            if wanted and path.stat().st_size <= MAX_BYTES:
                found[relative] = path.read_bytes()
    return found


def _wanted(relative: str, globs: Sequence[str]) -> bool:
    if globs:
        return any(fnmatch.fnmatch(relative, glob.removeprefix("./")) for glob in globs)
    *folders, name = relative.split("/")
    if TEST_FOLDERS & set(folders) or any(f.startswith(".") for f in folders):
        return False
    return not (name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py")


def write_result(root: Path, changed: Mapping[str, bytes]) -> None:
    """Each file whole or not at all, its mode kept."""
    for name in sorted(changed):
        path = root / name
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".evolve-mend-")
        try:
            with os.fdopen(descriptor, "wb") as sink:
                sink.write(changed[name])
                os.fchmod(sink.fileno(), path.stat().st_mode & 0o7777)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
