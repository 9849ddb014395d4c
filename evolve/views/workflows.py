"""The shipped workflows of a substrate, and what a commit changes in them, as records."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from evidence.store import Store
from evolve import worktree
from evolve.errors import Broken
from evolve.settings import Settings
from evolve.swaps import live_commit
from evolve.views.record import Record
from evolve.workflow_library import LIBRARY, Shipped, library_at
from workflows.codec import to_json
from workflows.difference import Difference, capabilities, difference

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


def shipped_workflows(settings: Settings, store: Store) -> tuple[ShippedWorkflow, ...]:
    """Those of the live service, by path; none where there is no repository."""
    repository = settings.substrate_repository
    if not (repository / ".git").exists():
        return ()  # or git would look around in the folders above
    try:
        library = library_at(repository, live_commit(settings, store))
    except Broken:
        return ()
    return tuple(
        ShippedWorkflow(path=path, workflow=_table(one), problem=one.problem) for path, one in library.items()
    )


@lru_cache(maxsize=64)
def workflow_changes(repository: Path, base: str, commit: str) -> tuple[WorkflowChange, ...]:
    """By path; empty where the commits can't be read."""
    if not worktree.has_commits(repository, base, commit):
        return ()
    before, after = library_at(repository, base), library_at(repository, commit)
    pairs = [(path, before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys())]
    return tuple(
        _change(path, one, other)
        for path, one, other in pairs
        if one is None or other is None or one.content != other.content
    )


def _change(path: str, old: Shipped | None, new: Shipped | None) -> WorkflowChange:
    before, after = (one.workflow if one else None for one in (old, new))
    found = difference(before, after) if before and after else Difference((), {}, {})
    gone = capabilities(before) if before and not after else found.lost
    won = capabilities(after) if after and not before else found.gained
    told = (("before", old), ("after", new))
    return WorkflowChange(
        path=path,
        before=_table(old),
        after=_table(new),
        changes=tuple(
            StepChange(step=one.node, place=one.place, before=one.before, after=one.after)
            for one in found.changes
        ),
        gained=tuple(won),
        lost=tuple(gone),
        problems=tuple(f"{when}: {one.problem}" for when, one in told if one and one.problem),
    )


def _table(one: Shipped | None) -> Table | None:
    return to_json(one.workflow) if one and one.workflow else None
