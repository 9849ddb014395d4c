"""Edits of a workflow's shape: steps that come, part, stand in for one another or change their kind. `edits` applies them
with those that stay within a step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from workflows.graph import (
    RESERVED,
    TEMPLATE,
    Argument,
    Call,
    MapNode,
    Node,
    OutputNode,
    Policy,
    Ref,
    ToolNode,
    Workflow,
    dependencies,
)


class EditError(ValueError):
    """There is no such step or place in the workflow."""


@dataclass(frozen=True, slots=True)
class Add:
    """A step joins. Nobody takes its result yet: `Bind` and `Show` see to that."""

    node: Node


@dataclass(frozen=True, slots=True)
class Move:
    """The step runs after these, and beside them only after those whose results it takes."""

    node: str
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """One reader of a step gets a copy of it for itself."""

    node: str
    reader: str
    copy: str
    """Its id."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Whoever takes from a step, or waits for it, turns to another, and the step goes."""

    node: str
    by: str


@dataclass(frozen=True, slots=True)
class Each:
    """A tool step calls once for each item of a list, which one of its arguments takes; its result becomes a list."""

    node: str
    argument: str
    over: Argument
    limit: int


@dataclass(frozen=True, slots=True)
class Hide:
    """The answer tells a value no more."""

    node: str
    """The output."""
    name: str


@dataclass(frozen=True, slots=True)
class SetPolicy:
    node: str
    policy: Policy


Reshape = Add | Move | Split | Replace | Each | Hide | SetPolicy


def reshaped(edit: Reshape, workflow: Workflow) -> Workflow:
    """Raises EditError."""
    match edit:
        case Add(node):
            if workflow.node(node.id) is not None or node.id in RESERVED:
                raise EditError(f"there is a step {node.id} already")
            return replace(workflow, nodes=(*workflow.nodes, node))
        case Split():
            return _split(edit, workflow)
        case Replace(gone, by):
            if gone == by:
                raise EditError(f"{gone} can't stand in for itself")
            find(workflow, gone)
            if by in RESERVED or isinstance(find(workflow, by), OutputNode):
                raise EditError(f"{by} can't stand in for {gone}")
            kept = (node for node in workflow.nodes if node.id != gone)
            return replace(workflow, nodes=tuple(_turned(node, gone, by) for node in kept))
    return with_node(workflow, _changed(edit, find(workflow, edit.node)))


def told(edit: Reshape) -> str:
    """For people, in a line."""
    match edit:
        case Add(node):
            call = node.tool if isinstance(node, ToolNode) else f"a {node.kind} step"
            return f"{node.id}: add {call}"
        case Move(node, after):
            return f"{node}: run after {', '.join(after) or 'nothing but what it takes'}"
        case Split(node, reader, copy):
            return f"{node}: a copy, {copy}, for {reader} alone"
        case Replace(node, by):
            return f"{node}: {by} stands in for it"
        case Each(node, argument, _, _):
            return f"{node}: once for each {argument} of a list"
        case Hide(node, name):
            return f"{node}: do not tell {name}"
        case SetPolicy(node, policy):
            return f"{node}: {_policy(policy)}"


def find(workflow: Workflow, node_id: str) -> Node:
    """Raises EditError."""
    node = workflow.node(node_id)
    if node is None:
        raise EditError(f"there is no step {node_id}")
    return node


def with_node(workflow: Workflow, node: Node) -> Workflow:
    """In the place of the step of the same id."""
    return replace(workflow, nodes=tuple(node if other.id == node.id else other for other in workflow.nodes))


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The same step, with other names for itself and for the steps that it takes from and waits for."""

    def of(ref: Ref) -> Ref:
        way = ".".join((names.get(ref.source, ref.source), *ref.path))
        return Ref(way) if ref.source in names else ref

    node = _with_refs(node, of)
    branch, dot, arm = (node.when or "").partition(".")
    when = f"{names.get(branch, branch)}{dot}{arm}" if node.when else None
    after = tuple(dict.fromkeys(names.get(name, name) for name in node.after))
    return replace(node, id=names.get(node.id, node.id), after=after, when=when)


def _split(edit: Split, workflow: Workflow) -> Workflow:
    node, reader = find(workflow, edit.node), find(workflow, edit.reader)
    if workflow.node(edit.copy) is not None or edit.copy in RESERVED:
        raise EditError(f"there is a step {edit.copy} already")
    if isinstance(node, OutputNode) or node.id == reader.id or node.id not in dependencies(reader):
        raise EditError(f"{reader.id} takes nothing from {node.id}")
    turned = with_node(workflow, renamed(reader, {node.id: edit.copy, reader.id: reader.id}))
    return replace(turned, nodes=(*turned.nodes, renamed(node, {node.id: edit.copy})))


def _turned(node: Node, gone: str, by: str) -> Node:
    turned = renamed(node, {gone: by}) if gone in dependencies(node) else node
    if by != node.id:
        return turned
    if gone in dependencies(node) - set(node.after):
        raise EditError(f"{by} takes from {gone} and can't stand in for it")
    return replace(turned, after=tuple(name for name in turned.after if name != by))


def _changed(edit: Move | Each | Hide | SetPolicy, node: Node) -> Node:
    match edit:
        case Move(_, after):
            return replace(node, after=after)
        case SetPolicy(_, policy):
            return replace(node, policy=policy)
        case Hide(_, name) if isinstance(node, OutputNode) and name in node.values:
            kept = {key: value for key, value in node.values.items() if key != name}
            return replace(node, text=_without(node.text, name), values=kept)
        case Each(_, argument, over, limit) if isinstance(node, ToolNode) and argument in node.arguments:
            call = Call(node.tool, {**node.arguments, argument: Ref("item")})
            return MapNode(
                id=node.id, after=node.after, when=node.when, requires=node.requires, policy=node.policy,
                over=over, each=call, limit=limit,
            )  # fmt: skip
    raise EditError(f"{node.id}: {type(edit).__name__} does not fit it")


def _without(text: str, name: str) -> str:
    return TEMPLATE.sub(lambda found: "" if found[1] == name else found[0], text).rstrip("\n")


def _with_refs(value: Any, change: Callable[[Ref], Ref]) -> Any:
    if isinstance(value, Ref):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: _with_refs(getattr(value, field.name), change) for field in fields(value)}
        return type(value)(**changed)
    if isinstance(value, tuple):
        return tuple(_with_refs(inner, change) for inner in value)
    if isinstance(value, Mapping) and any(is_dataclass(inner) for inner in value.values()):
        return {key: _with_refs(inner, change) for key, inner in value.items()}
    return value


def _policy(policy: Policy) -> str:
    seconds = f", {policy.timeout_seconds:g} s an attempt" if policy.timeout_seconds is not None else ""
    recovery = f", else {policy.recovery.tool}" if policy.recovery is not None else ""
    fallback = ", else a value in its place" if policy.fallback is not None else ""
    return f"{policy.retries} retries{seconds}{recovery}{fallback}"
