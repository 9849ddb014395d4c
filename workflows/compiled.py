"""A workflow made ready to run, once for any number of runs: who follows whom, and readers for what each step takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator

from workflows.graph import (
    ITEM,
    NO_POLICY,
    Argument,
    Ask,
    Call,
    MapNode,
    MergeNode,
    ModelNode,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    ValidatorNode,
    Workflow,
    dependencies,
    taken,
)
from workflows.order import Order
from workflows.schemas import validator
from workflows.values import Reader, reader, readers


class WorkflowError(ValueError):
    """The graph can't be run: it was not checked, or not against these tools."""


@dataclass(slots=True)
class Step:
    index: int
    id: str
    node: Node
    needs: tuple[str, ...]
    when: tuple[str, str] | None
    plain: bool
    """One tool call, and nothing to be done about a failure or to be checked."""
    takes: dict[str, Reader]
    followers: list[int] = field(default_factory=list)
    waits: int = 0
    over: Reader | None = None
    recovery: dict[str, Reader] = field(default_factory=dict)
    fallback: Reader | None = None
    validator: Validator | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    workflow: Workflow
    steps: tuple[Step, ...]
    """In record order: by layer, then by id."""
    output: int


def compiled(workflow: Workflow) -> Compiled:
    """Raises WorkflowError when some step can never start, or there is no output."""
    order = Order(workflow)
    unknown = sorted({name for node in workflow.nodes for name in dependencies(node)} - order.nodes.keys())
    stuck = sorted(order.nodes.keys() - set(order.sequence))
    if unknown or stuck or len(order.nodes) < len(workflow.nodes):
        raise WorkflowError(f"{workflow.name}: {', '.join(unknown or stuck) or 'a step'} can never start")
    lost = [node.id for node in workflow.nodes for place, ref in _items(node) if not place.startswith("each")]
    if lost:
        raise WorkflowError(
            f"{workflow.name}: {', '.join(sorted(lost))}: {ITEM!r} is known within a map only"
        )
    steps = tuple(_step(index, order.nodes[name]) for index, name in enumerate(order.sequence))
    by_id = {step.id: step for step in steps}
    for step in steps:
        step.waits = len(step.needs)
        for name in step.needs:
            by_id[name].followers.append(step.index)
    output = next((step.index for step in steps if isinstance(step.node, OutputNode)), None)
    if output is None:
        raise WorkflowError(f"{workflow.name}: there is no output")
    return Compiled(workflow, steps, output)


def _items(node: Node) -> list[tuple[str, Argument]]:
    """Each place that takes a map's item."""
    return [
        (place, argument)
        for place, argument in taken(node)
        if isinstance(argument, Ref) and argument.source == ITEM
    ]


def complaint(validator: Validator, value: Any) -> str | None:
    """What is wrong with a value, in a line; None when it meets the schema."""
    error = best_match(validator.iter_errors(value))
    if error is None:
        return None
    place = ".".join(map(str, error.absolute_path))
    return f"{place + ': ' if place else ''}{error.message[:300]}"


def _step(index: int, node: Node) -> Step:
    branch, _, arm = (node.when or "").partition(".")
    recovery, fallback = node.policy.recovery, node.policy.fallback
    return Step(
        index=index,
        id=node.id,
        node=node,
        needs=tuple(sorted(dependencies(node))),
        when=(branch, arm) if node.when else None,
        plain=isinstance(node, ToolNode) and node.policy == NO_POLICY and not (node.requires or node.ensures),
        takes=_takes(node),
        over=reader(node.over) if isinstance(node, MapNode) else None,
        recovery=readers(recovery.arguments) if recovery else {},
        fallback=reader(fallback) if fallback is not None else None,
        validator=_validator(node),
    )


def _takes(node: Node) -> dict[str, Reader]:
    match node:
        case ToolNode():
            return readers(node.arguments)
        case ModelNode() | OutputNode():
            return readers(node.values)
        case MapNode(each=Call(arguments=arguments)) | MapNode(each=Ask(values=arguments)):
            return readers(arguments)
        case MergeNode():
            return {ref.ref: reader(ref) for ref in node.sources}
        case ValidatorNode():
            return {"value": reader(node.value)}
    return {}


def _validator(node: Node) -> Validator | None:
    schema: Mapping[str, object] | None = None
    if isinstance(node, ValidatorNode):
        schema = node.schema
    elif isinstance(node, ModelNode):
        schema = node.answer
    elif isinstance(node, MapNode) and isinstance(node.each, Ask):
        schema = node.each.answer
    return validator(schema) if schema is not None else None
