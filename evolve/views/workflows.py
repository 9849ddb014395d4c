"""The shipped workflows of a substrate, and what a commit changes in them. What can't be read is said, never raised."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from evolve import worktree
from evolve.errors import Broken
from evolve.views.record import Record
from workflows.codec import GraphError, from_json, to_json
from workflows.difference import Difference, capabilities, difference
from workflows.graph import Workflow

LIBRARY = "workflows/library/"
MOST_BYTES = 256 << 10
Table = dict[str, Any]
"""A workflow in its canonical form."""


class ShippedWorkflow(Record):
    path: str
    workflow: Table | None
    problem: str = ""
    """Why it is no workflow; hostile text, as all of it is."""


class StepChange(Record):
    step: str
    """Empty: the workflow itself."""
    place: str
    """Where in it; empty: the step itself."""
    before: Any
    after: Any


class WorkflowChange(Record):
    path: str
    before: Table | None
    """None: it was not there, or is no workflow."""
    after: Table | None
    changes: tuple[StepChange, ...] = ()
    gained: tuple[str, ...] = ()
    """Tools that it may call and could not before."""
    lost: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        table = self.after or self.before or {}
        return str(table.get("name") or self.path.removeprefix(LIBRARY))


def shipped_workflows(repository: Path) -> tuple[ShippedWorkflow, ...]:
    """Those on `main`, by path; none where there is no repository."""
    if not (repository / ".git").exists():
        return ()  # or git would look around in the folders above
    try:
        files = worktree.read_files(repository, worktree.head(repository), LIBRARY)
    except Broken:
        return ()
    return tuple(_shipped(path, files[path]) for path in sorted(files) if path.endswith(".json"))


@lru_cache(maxsize=64)
def workflow_changes(repository: Path, base: str, commit: str) -> tuple[WorkflowChange, ...]:
    """By path; empty where the commits can't be read."""
    if not worktree.has_commits(repository, base, commit):
        return ()
    before, after = (worktree.read_files(repository, one, LIBRARY) for one in (base, commit))
    paths = sorted(path for path in before.keys() | after.keys() if path.endswith(".json"))
    return tuple(
        _change(path, before.get(path), after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    )


def _shipped(path: str, data: bytes) -> ShippedWorkflow:
    workflow, problem = _read(data)
    return ShippedWorkflow(path=path, workflow=to_json(workflow) if workflow else None, problem=problem)


def _change(path: str, old: bytes | None, new: bytes | None) -> WorkflowChange:
    (before, problem), (after, other) = _read(old), _read(new)
    found = difference(before, after) if before and after else Difference((), {}, {})
    gone = capabilities(before) if before and not after else found.lost
    won = capabilities(after) if after and not before else found.gained
    problems = [f"{when}: {what}" for when, what in (("before", problem), ("after", other)) if what]
    return WorkflowChange(
        path=path,
        before=to_json(before) if before else None,
        after=to_json(after) if after else None,
        changes=tuple(
            StepChange(step=one.node, place=one.place, before=one.before, after=one.after)
            for one in found.changes
        ),
        gained=tuple(won),
        lost=tuple(gone),
        problems=tuple(problems),
    )


def _read(data: bytes | None) -> tuple[Workflow | None, str]:
    if data is None:
        return None, ""
    if len(data) > MOST_BYTES:
        return None, f"larger than {MOST_BYTES} bytes"
    try:
        return from_json(json.loads(data.decode("utf-8"))), ""
    except GraphError as error:
        return None, str(error)
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"
