"""Typed tool workflows as plain data: nodes that call tools or make the answer, and references between them.

A workflow is JSON, never code. Arguments are literals (`{"value": …}`) or references
(`{"ref": "node.field"}`) to the request's inputs (`inputs.name`) or to an earlier node's result. The order of
nodes in a file means nothing: what a node refers to decides when it runs, and the canonical form sorts nodes
by id, so that equal graphs have equal digests.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
TOOL = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_./-]+")
TEMPLATE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|([{}])")
INPUTS = "inputs"


class GraphError(ValueError):
    """The JSON is no workflow; the message names the place."""


class Ref(NamedTuple):
    """`source` is a node's id or `inputs`; `path` leads into its value."""

    source: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.source, *self.path))


class Literal(NamedTuple):
    value: object


Argument = Ref | Literal


@dataclass(frozen=True, slots=True)
class ToolNode:
    id: str
    tool: str
    """`server/tool`"""
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    @property
    def values(self) -> Mapping[str, Argument]:
        return self.arguments


@dataclass(frozen=True, slots=True)
class OutputNode:
    id: str
    text: str
    """The answer, with `{name}` for each of `values`."""
    values: Mapping[str, Argument] = field(default_factory=dict)


Node = ToolNode | OutputNode


@dataclass(frozen=True, slots=True)
class Workflow:
    name: str
    description: str
    nodes: tuple[Node, ...]
    inputs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Name -> JSON Schema of a request input."""
    trigger: str | None = None
    """A regular expression over the user's text whose named groups are the inputs."""

    def node(self, node_id: str) -> Node | None:
        return next((node for node in self.nodes if node.id == node_id), None)

    @property
    def tools(self) -> frozenset[str]:
        return frozenset(node.tool for node in self.nodes if isinstance(node, ToolNode))

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(canonical(self)).hexdigest()


def references(node: Node) -> Iterator[tuple[str, Ref]]:
    """The node's references with the name of the argument that holds each, in name order."""
    for name, argument in sorted(node.values.items()):
        if isinstance(argument, Ref):
            yield name, argument


def template_names(text: str) -> tuple[list[str], bool]:
    """The names in a template, and whether all its braces are names, `{{` or `}}`."""
    found = [match.groups() for match in TEMPLATE.finditer(text)]
    return [name for name, _ in found if name], not any(stray for _, stray in found)


def dependencies(node: Node) -> frozenset[str]:
    """Ids of the nodes whose results this one needs."""
    return frozenset(ref.source for _, ref in references(node) if ref.source != INPUTS)


def to_json(workflow: Workflow) -> dict[str, object]:
    nodes = [_node_to_json(node) for node in sorted(workflow.nodes, key=lambda node: node.id)]
    table: dict[str, object] = {
        "v": 1,
        "name": workflow.name,
        "description": workflow.description,
        "inputs": {name: dict(schema) for name, schema in workflow.inputs.items()},
        "nodes": nodes,
    }
    return table | ({"trigger": workflow.trigger} if workflow.trigger is not None else {})


def canonical(workflow: Workflow) -> bytes:
    """The bytes that are hashed: sorted keys and nodes, no spaces."""
    return json.dumps(
        to_json(workflow), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def from_json(data: object) -> Workflow:
    """Raises GraphError."""
    table = _table(data, "workflow", {"v", "name", "description", "nodes"}, {"inputs", "trigger"})
    if isinstance(table["v"], bool) or table["v"] != 1:
        raise GraphError(f"v: expected 1, found {table['v']!r}")
    inputs = _mapping(table.get("inputs", {}), "inputs")
    nodes = table["nodes"]
    if not isinstance(nodes, list):
        raise GraphError("nodes: expected a list")
    return Workflow(
        name=_name(table["name"], "name"),
        description=_text(table["description"], "description"),
        nodes=tuple(_node(node, f"nodes[{index}]") for index, node in enumerate(nodes)),
        inputs={_name(key, "inputs"): _mapping(value, f"inputs.{key}") for key, value in inputs.items()},
        trigger=_pattern(table["trigger"]) if "trigger" in table else None,
    )


def _node(data: object, where: str) -> Node:
    kind = _mapping(data, where).get("kind")
    if kind == "tool":
        table = _table(data, where, {"id", "kind", "tool"}, {"arguments"})
        tool = _text(table["tool"], f"{where}.tool")
        if not TOOL.fullmatch(tool):
            raise GraphError(f"{where}.tool: expected server/tool, found {tool!r}")
        arguments = _arguments(table.get("arguments", {}), f"{where}.arguments")
        return ToolNode(_node_id(table["id"], f"{where}.id"), tool, arguments)
    if kind == "output":
        table = _table(data, where, {"id", "kind", "text"}, {"values"})
        text, values = (
            _text(table["text"], f"{where}.text"),
            _arguments(table.get("values", {}), f"{where}.values"),
        )
        return OutputNode(_node_id(table["id"], f"{where}.id"), text, values)
    raise GraphError(f"{where}.kind: expected tool or output, found {kind!r}")


def _arguments(data: object, where: str) -> dict[str, Argument]:
    return {name: _argument(value, f"{where}.{name}") for name, value in _mapping(data, where).items()}


def _argument(data: object, where: str) -> Argument:
    table = _mapping(data, where)
    if set(table) == {"value"}:
        return Literal(table["value"])
    if set(table) == {"ref"}:
        source, *path = _text(table["ref"], f"{where}.ref").split(".")
        return Ref(_name(source, f"{where}.ref"), tuple(path))
    raise GraphError(f'{where}: expected {{"value": …}} or {{"ref": …}}, found keys {sorted(table)}')


def _node_to_json(node: Node) -> dict[str, object]:
    values = {
        name: {"ref": str(value)} if isinstance(value, Ref) else {"value": value.value}
        for name, value in node.values.items()
    }
    if isinstance(node, ToolNode):
        return {"id": node.id, "kind": "tool", "tool": node.tool, "arguments": values}
    return {"id": node.id, "kind": "output", "text": node.text, "values": values}


def _table(data: object, where: str, required: set[str], optional: set[str]) -> dict[str, object]:
    table = _mapping(data, where)
    for key in sorted(required - set(table)):
        raise GraphError(f"{where}.{key}: missing")
    for key in sorted(set(table) - required - optional):
        raise GraphError(f"{where}.{key}: unknown key")
    return table


def _mapping(data: object, where: str) -> dict[str, object]:
    if not isinstance(data, dict):
        raise GraphError(f"{where}: expected an object, found {type(data).__name__}")
    return data


def _text(data: object, where: str) -> str:
    if not isinstance(data, str):
        raise GraphError(f"{where}: expected a string, found {type(data).__name__}")
    return data


def _name(data: object, where: str) -> str:
    text = _text(data, where)
    if not NAME.fullmatch(text):
        raise GraphError(f"{where}: expected a lower-case name, found {text!r}")
    return text


def _node_id(data: object, where: str) -> str:
    name = _name(data, where)
    if name == INPUTS:
        raise GraphError(f"{where}: {INPUTS!r} is the request's, not a node's")
    return name


def _pattern(data: object) -> str:
    text = _text(data, "trigger")
    try:
        re.compile(text)
    except re.error as error:
        raise GraphError(f"trigger: not a regular expression: {error}") from None
    return text
