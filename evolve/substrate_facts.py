"""What the substrate's repository says about a candidate: how often its files change, what it may newly do, on what it
newly depends.

Read from the commits themselves, which never change, so an answer is found once.
"""

import ast
import re
import sys
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pydantic import Field

from evolve import worktree
from evolve.candidate import Candidate
from evolve.views import Record
from promote.capabilities import difference

LOOK_BACK = 200
"""Commits of the base's history in which changes are counted."""
HOT = 3
"""Changes in them from which a file is hot."""

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*==", re.MULTILINE)


class SubstrateFacts(Record):
    known: bool
    """False: the repository could not be read, and what follows is empty for that reason."""
    hot: dict[str, int] = Field(default_factory=dict)
    """Files of the candidate that change often: path to the number of commits that did."""
    gained: tuple[str, ...] = ()
    """Capabilities that the live tree's files don't have, such as `network:socket`."""
    lost: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    """Distributions newly pinned, and modules newly imported that are neither the tree's nor Python's own."""


def substrate_facts(repository: Path, candidate: Candidate | None) -> SubstrateFacts:
    """Never raises: a repository that is gone or lacks the commits gives `known=False`."""
    if candidate is None or not worktree.has_commits(repository, candidate.base_commit, candidate.commit):
        return SubstrateFacts(known=False)
    return _facts(repository, candidate.base_commit, candidate.commit, candidate.files)


@lru_cache(maxsize=64)
def _facts(repository: Path, base: str, commit: str, paths: tuple[str, ...]) -> SubstrateFacts:
    before, after = (_texts(worktree.read_files(repository, c, "")) for c in (base, commit))
    counts = worktree.change_counts(repository, base, LOOK_BACK)
    changed = set(paths)
    reach = difference(
        {path: text for path, text in before.items() if path in changed},
        {path: text for path, text in after.items() if path in changed},
    )
    return SubstrateFacts(
        known=True,
        hot={path: counts[path] for path in paths if counts.get(path, 0) >= HOT},
        gained=tuple(reach["added"]),
        lost=tuple(reach["removed"]),
        dependencies=tuple(sorted(_dependencies(after, changed) - _dependencies(before, set(before)))),
    )


def _texts(files: dict[str, bytes]) -> dict[str, str]:
    return {path: data.decode("utf-8", "replace") for path, data in files.items()}


def _dependencies(files: dict[str, str], looked_at: set[str]) -> set[str]:
    own = {PurePosixPath(path).parts[0].removesuffix(".py") for path in files}
    found: set[str] = set()
    for path in looked_at & set(files):
        if path.endswith(".py"):
            found |= _imports(files[path]) - own - sys.stdlib_module_names
        elif PurePosixPath(path).match("requirements*.txt") or path.endswith(".lock"):
            found |= set(_PIN.findall(files[path]))
    return found


def _imports(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module.partition(".")[0])
    return modules
