"""Typed edits of a workflow: data, applied to give another workflow. An edit that does not fit raises EditError and
changes nothing. Those of its shape are in `reshaping`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from workflows.graph import (
    Argument,
    Arguments,
    Ask,
    Call,
    MapNode,
    ModelNode,
    Node,
    OutputNode,
    Policy,
    Ref,
    ToolNode,
    ValidatorNode,
    Workflow,
)
from workflows.reshaping import EditError as EditError
from workflows.reshaping import Reshape, find, reshaped, with_node
from workflows.reshaping import told as told_reshape


@dataclass(frozen=True, slots=True)
class SwapTool:
    """Another tool in a call, with what the first one's arguments are called there; those that have no name there are
    dropped."""

    node: str
    place: str
    """Where the call stands: empty for a tool step's own, `each`, `policy.recovery`."""
    tool: str
    renamed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Bind:
    """A place takes something else, or something for the first time."""

    node: str
    place: str
    """As problems name it: `arguments.path`, `each.arguments.path`, `values.name`, `over`, `value`."""
    argument: Argument


@dataclass(frozen=True, slots=True)
class Unbind:
    node: str
    place: str


@dataclass(frozen=True, slots=True)
class Rename:
    """What stands under one name stands under another."""

    node: str
    place: str
    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    """The step goes, and the orders and conditions that name it."""

    node: str


@dataclass(frozen=True, slots=True)
class RunAfter:
    node: str
    other: str


@dataclass(frozen=True, slots=True)
class NotAfter:
    node: str
    other: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A map's limit."""

    node: str
    limit: int


@dataclass(frozen=True, slots=True)
class Show:
    """The answer tells a result, too, after what it says."""

    node: str
    """The output."""
    ref: Ref


Edit = Show | SwapTool | Bind | Unbind | Rename | Remove | RunAfter | NotAfter | Bound | Reshape


def apply(edit: Edit, workflow: Workflow) -> Workflow:
    """Raises EditError."""
    if isinstance(edit, Reshape):
        return reshaped(edit, workflow)
    if isinstance(edit, Remove):
        find(workflow, edit.node)
        kept = (node for node in workflow.nodes if node.id != edit.node)
        return replace(workflow, nodes=tuple(_without(node, edit.node) for node in kept))
    return with_node(workflow, _edited(edit, find(workflow, edit.node)))


def apply_all(edits: Iterable[Edit], workflow: Workflow) -> Workflow:
    """Raises EditError."""
    for edit in edits:
        workflow = apply(edit, workflow)
    return workflow


def told(edit: Edit) -> str:
    """For people, in a line."""
    if isinstance(edit, Reshape):
        return told_reshape(edit)
    match edit:
        case SwapTool(node, place, tool, _):
            return f"{_joined(node, place)}: call {tool}"
        case Bind(node, place, argument):
            shown = "{" + argument.ref + "}" if isinstance(argument, Ref) else repr(argument.value)
            return f"{_joined(node, place)}: take {shown}"
        case Unbind(node, place):
            return f"{_joined(node, place)}: drop it"
        case Rename(node, place, name):
            return f"{_joined(node, place)}: call it {name}"
        case Remove(node):
            return f"{node}: remove the step"
        case RunAfter(node, other):
            return f"{node}: run after {other}"
        case NotAfter(node, other):
            return f"{node}: do not wait for {other}"
        case Show(node, ref):
            return f"{node}: tell {{{ref.ref}}}, too"
        case Bound(node, limit):
            return f"{node}: at most {limit} items"


def arguments_at(node: Node, holder: str) -> Arguments | None:
    """The named arguments that a step holds there; None if it holds none."""
    call = _call(node, holder.removesuffix(".arguments")) if holder.endswith(".arguments") else None
    if call is not None:
        return call.arguments
    if holder == "arguments" and isinstance(node, ToolNode):
        return node.arguments
    if holder == "values" and isinstance(node, ModelNode | OutputNode):
        return node.values
    if holder == "each.values" and isinstance(node, MapNode) and isinstance(node.each, Ask):
        return node.each.values
    return None


def _edited(edit: Edit, node: Node) -> Node:
    match edit:
        case SwapTool(_, place, tool, renamed):
            return _swapped(node, place, tool, dict(renamed))
        case Show(_, ref) if isinstance(node, OutputNode):
            name = f"v{len(node.values)}"
            while name in node.values:
                name += "_"
            text = f"{node.text}\n{{{name}}}".lstrip("\n")
            return replace(node, text=text, values={**node.values, name: ref})
        case Bind(_, "over", argument) if isinstance(node, MapNode):
            return replace(node, over=argument)
        case Bind(_, "value", argument) if isinstance(node, ValidatorNode):
            return replace(node, value=argument)
        case Bind(_, place, argument):
            holder, name = _split(place)
            return _with_arguments(node, holder, {**_held(node, holder), name: argument})
        case Unbind(_, place):
            holder, name = _split(place)
            return _with_arguments(node, holder, _less(_held(node, holder), name, place))
        case Rename(_, place, other):
            holder, name = _split(place)
            held = _held(node, holder)
            if other in held:
                raise EditError(f"{node.id}.{holder}: {other} is there already")
            return _with_arguments(node, holder, {**_less(held, name, place), other: held[name]})
        case RunAfter(_, other):
            return replace(node, after=(*node.after, other)) if other not in node.after else node
        case NotAfter(_, other):
            return replace(node, after=tuple(name for name in node.after if name != other))
        case Bound(_, limit) if isinstance(node, MapNode):
            return replace(node, limit=limit)
    raise EditError(f"{node.id}: {type(edit).__name__} does not fit a {node.kind} step")


def _swapped(node: Node, place: str, tool: str, renamed: Mapping[str, str]) -> Node:
    if place == "" and isinstance(node, ToolNode):
        kept = {renamed[name]: value for name, value in node.arguments.items() if name in renamed}
        return replace(node, tool=tool, arguments=kept, effect=None)
    call = _call(node, place)
    if call is None:
        raise EditError(f"{_joined(node.id, place)}: there is no call")
    kept = {renamed[name]: value for name, value in call.arguments.items() if name in renamed}
    return _with_call(node, place, Call(tool, kept))


def _with_arguments(node: Node, holder: str, arguments: Arguments) -> Node:
    if holder == "arguments" and isinstance(node, ToolNode):
        return replace(node, arguments=arguments)
    if holder == "values" and isinstance(node, ModelNode | OutputNode):
        return replace(node, values=arguments)
    if holder == "each.values" and isinstance(node, MapNode) and isinstance(node.each, Ask):
        return replace(node, each=replace(node.each, values=arguments))
    call = _call(node, holder.removesuffix(".arguments"))
    if call is None:
        raise EditError(f"{node.id}: it holds no {holder}")
    return _with_call(node, holder.removesuffix(".arguments"), replace(call, arguments=arguments))


def _call(node: Node, place: str) -> Call | None:
    if place == "each" and isinstance(node, MapNode) and isinstance(node.each, Call):
        return node.each
    return node.policy.recovery if place == "policy.recovery" else None


def _with_call(node: Node, place: str, call: Call) -> Node:
    if place == "each" and isinstance(node, MapNode):
        return replace(node, each=call)
    policy: Policy = replace(node.policy, recovery=call)
    return replace(node, policy=policy)


def _without(node: Node, gone: str) -> Node:
    changes: dict[str, Any] = {}
    if gone in node.after:
        changes["after"] = tuple(name for name in node.after if name != gone)
    if node.when is not None and node.when.partition(".")[0] == gone:
        changes["when"] = None
    return replace(node, **changes) if changes else node


def _held(node: Node, holder: str) -> Arguments:
    found = arguments_at(node, holder)
    if found is None:
        raise EditError(f"{node.id}: it holds no {holder}")
    return found


def _less(arguments: Arguments, name: str, place: str) -> dict[str, Argument]:
    if name not in arguments:
        raise EditError(f"{place}: there is nothing")
    return {key: value for key, value in arguments.items() if key != name}


def _split(place: str) -> tuple[str, str]:
    """Holder and name: a name may have dots of its own, a holder is one of a few."""
    for holder in ("policy.recovery.arguments", "each.arguments", "each.values", "arguments", "values"):
        if place.startswith(f"{holder}."):
            return holder, place[len(holder) + 1 :]
    raise EditError(f"{place}: no place of an argument")


def _joined(node: str, place: str) -> str:
    return f"{node}.{place}" if place else node
