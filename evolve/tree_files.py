"""The files of a folder that a commit is made of; a coder may have written anything into it."""

import errno
import os
import re
from pathlib import Path

from evolve.errors import BadInput

DROPPINGS = ("__pycache__", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache")
"""Folders that tools leave behind and that are never part of a candidate."""
MAX_FILES = 20_000
_UNFIT = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]")
"""Control characters, and what stands for bytes that are no UTF-8."""


def tree_files(tree: Path) -> dict[str, Path]:
    """Regular files and links by name below `tree`; no link is followed. Raises BadInput for what can't be committed."""
    try:
        found = {path.relative_to(tree).as_posix(): path for path in _walk(tree)}
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise BadInput("a path too long to open can't be committed") from None
    if unfit := next(filter(_UNFIT.search, found), None):
        raise BadInput(f"the file name {unfit!r} can't be committed")
    if len(found) > MAX_FILES:
        raise BadInput(f"more than {MAX_FILES} files can't be committed")
    return found


def _walk(tree: Path) -> list[Path]:
    found = []
    for folder, names, files in os.walk(tree, followlinks=False):
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        names[:] = sorted(n for n in names if n not in links and n != ".git" and n not in DROPPINGS)
        for name in sorted(files + links):
            path = Path(folder) / name
            if path.is_symlink() or (path.is_file() and not name.endswith(".pyc")):
                found.append(path)
    return found
