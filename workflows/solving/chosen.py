"""A step that the drafts agree on, before anything is known of what it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from workflows.catalog import Catalog, ToolSpec
from workflows.solving.align import Column
from workflows.solving.drafts import Draft, all_slots
from workflows.types import Schema, at_path


@dataclass(frozen=True, eq=False)
class Chosen:
    id: str
    column: Column
    tool: str
    spec: ToolSpec | None

    @property
    def changes(self) -> bool:
        return self.spec is None or self.spec.effect != "read"


class Chain:
    """The steps of a plan in the making, what they give, and the ways into results that the drafts write anywhere."""

    def __init__(self, steps: Sequence[Chosen], drafts: Sequence[Draft], catalog: Catalog) -> None:
        self.steps, self.catalog = steps, catalog
        self._ways = sorted(
            {slot.path for draft in drafts for slot in all_slots(draft)}, key=lambda way: (-len(way), way)
        )

    def named(self, name: str | None, draft: int) -> Chosen | None:
        """What a draft calls so."""
        for step in self.steps:
            cell = step.column.cells.get(draft)
            if cell is not None and cell.id == name:
                return step
        return None

    def given(self, step: Chosen) -> Schema:
        return self.catalog.output(step.spec.key) if step.spec else {}

    def leads(self, step: Chosen, path: Sequence[str]) -> bool:
        return not path or at_path(self.given(step), tuple(path)) is not None

    def whole(self, tail: tuple[str, ...]) -> tuple[str, ...]:
        """The longest way that somebody wrote and that ends so."""
        return next((way for way in self._ways if tail and way[-len(tail) :] == tail), tail)

    def place(self, step: Chosen) -> int:
        return next(index for index, other in enumerate(self.steps) if other is step)


def written(step: Chosen, path: Sequence[str]) -> str:
    return "{" + ".".join((step.id, *path)) + "}"
