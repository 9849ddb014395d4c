"""Runs a checked workflow: every node whose inputs are there starts at once, under a limit.

The records come in an order that the graph alone decides (layer, then id), whatever finished first.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal as Choice
from typing import NamedTuple

from workflows.graph import (
    INPUTS,
    TEMPLATE,
    Argument,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
    dependencies,
)


class ToolOutcome(NamedTuple):
    """What one tool call came to; `error` is None when it worked."""

    value: object
    error: str | None = None


CallTool = Callable[[ToolNode, dict[str, object]], Awaitable[ToolOutcome]]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    node: str
    state: Choice["done", "failed", "skipped"]
    arguments: Mapping[str, object] = field(default_factory=dict)
    value: object = None
    error: str | None = None


class WorkflowResult(NamedTuple):
    text: str | None
    """The output's text; None when something that it needs failed."""
    records: tuple[NodeRecord, ...]

    @property
    def failures(self) -> tuple[NodeRecord, ...]:
        return tuple(record for record in self.records if record.state == "failed")


class WorkflowError(ValueError):
    """The graph can't be run: it was not checked, or not against these tools."""


def layers(workflow: Workflow) -> tuple[tuple[Node, ...], ...]:
    """Nodes by distance from the inputs, layers sorted by id. Raises WorkflowError when some can't start."""
    done: set[str] = set()
    waiting = {node.id: node for node in workflow.nodes}
    found: list[tuple[Node, ...]] = []
    while waiting:
        ready = tuple(waiting[key] for key in sorted(waiting) if dependencies(waiting[key]) <= done)
        if not ready:
            raise WorkflowError(f"{workflow.name}: {', '.join(sorted(waiting))} can never start")
        done.update(node.id for node in ready)
        waiting = {key: node for key, node in waiting.items() if key not in done}
        found.append(ready)
    return tuple(found)


def order(workflow: Workflow) -> tuple[str, ...]:
    """Node ids in record order."""
    return tuple(node.id for layer in layers(workflow) for node in layer)


async def run(
    workflow: Workflow, inputs: Mapping[str, object], call: CallTool, *, limit: int = 8
) -> WorkflowResult:
    """Run it to the end. A failed node skips those that need it; the others go on."""
    sequence = [node for layer in layers(workflow) for node in layer]
    slots = asyncio.Semaphore(limit)
    records: dict[str, NodeRecord] = {}
    finished = {node.id: asyncio.Event() for node in sequence}

    async def settle(node: Node) -> None:
        for dependency in sorted(dependencies(node)):
            await finished[dependency].wait()
        async with slots:
            records[node.id] = await _record(node, inputs, records, call)
        finished[node.id].set()

    async with asyncio.TaskGroup() as group:
        for node in sequence:
            group.create_task(settle(node))
    ordered = tuple(records[node.id] for node in sequence)
    output = next(node.id for node in sequence if isinstance(node, OutputNode))
    text = records[output].value
    return WorkflowResult(text if isinstance(text, str) else None, ordered)


async def _record(
    node: Node, inputs: Mapping[str, object], records: Mapping[str, NodeRecord], call: CallTool
) -> NodeRecord:
    if any(records[name].state != "done" for name in dependencies(node)):
        return NodeRecord(node.id, "skipped", error="something that it needs failed")
    try:
        values = {name: resolve(argument, inputs, records) for name, argument in node.values.items()}
    except LookupError as error:
        return NodeRecord(node.id, "failed", error=str(error.args[0]))
    if isinstance(node, OutputNode):
        return NodeRecord(node.id, "done", values, render(node.text, values))
    outcome = await call(node, values)
    if outcome.error is not None:
        return NodeRecord(node.id, "failed", values, outcome.value, outcome.error)
    return NodeRecord(node.id, "done", values, outcome.value)


def resolve(argument: Argument, inputs: Mapping[str, object], records: Mapping[str, NodeRecord]) -> object:
    """The argument's value. Raises LookupError when a reference leads nowhere in what was really returned."""
    if not isinstance(argument, Ref):
        return argument.value
    value: object = dict(inputs) if argument.source == INPUTS else records[argument.source].value
    for part in argument.path:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise LookupError(f"{argument}: the result has no {part!r}")
    return value


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill `{name}`; what is no text is shown as JSON. No format specifications: a template is data."""

    def fill(match: re.Match[str]) -> str:
        name, stray = match.groups()
        if name is None:
            return stray or match[0][0]
        value = values[name]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return TEMPLATE.sub(fill, template)
