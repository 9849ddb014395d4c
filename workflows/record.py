"""What a run of a workflow came to, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal as Choice
from typing import NamedTuple

State = Choice["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    node: str
    state: State
    """Skipped: a branch went another way, or something that it needs did not get done."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    value: object = None
    error: str | None = None
    attempts: int = 0
    """Calls that it took; of a map, all items' together."""


class WorkflowResult(NamedTuple):
    text: str | None
    """The output's text; None when something that it needs failed."""
    records: tuple[NodeRecord, ...]
    """By layer, then by id: the graph alone decides."""

    @property
    def failures(self) -> tuple[NodeRecord, ...]:
        return tuple(record for record in self.records if record.state == "failed")
