"""Everything that is wrong with a workflow, found before any tool is called, all at once."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from workflows.catalog import Catalog, ToolSpec
from workflows.contracts import breaches
from workflows.graph import (
    EFFECTS,
    Argument,
    Arguments,
    Ask,
    Call,
    Literal,
    MapNode,
    MergeNode,
    ModelNode,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
    calls,
    taken,
    template_names,
)
from workflows.order import Order, arms
from workflows.ports import Ports
from workflows.schemas import UNREADABLE, validator
from workflows.types import ALL, Schema, allowed, misfit, named_types, property_schema, type_of

MAX_NODES = 64
MAX_ITEMS = 100
MAX_ERRORS = 4
"""Of one literal that does not meet its schema."""


@dataclass(frozen=True, slots=True)
class Problem:
    kind: str
    node: str
    """Empty when the workflow as a whole is meant."""
    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        place = ".".join(part for part in (self.node, self.path) if part) or "workflow"
        return f"{place}: {self.kind}: expected {self.expected}, found {self.found}"


def check(workflow: Workflow, catalog: Catalog) -> tuple[Problem, ...]:
    """All problems, those of the whole first, then in node order; none means that the engine can run it on these
    tools."""
    order = Order(workflow)
    if len(workflow.nodes) > MAX_NODES:
        return (Problem("too_large", "", "nodes", f"at most {MAX_NODES}", str(len(workflow.nodes))),)
    ports = Ports(workflow, order, catalog)
    return (
        *_shape(workflow, order, catalog),
        *_trigger(workflow),
        *_capabilities(workflow),
        *(problem for node in workflow.nodes for problem in _node(node, ports, catalog)),
        *_contracts(workflow, order, catalog),
    )


def _shape(workflow: Workflow, order: Order, catalog: Catalog) -> Iterator[Problem]:
    for node_id, count in sorted(Counter(node.id for node in workflow.nodes).items()):
        if count > 1:
            yield Problem("duplicate_node", node_id, "id", "each id once", f"{count} times")
    outputs = [node.id for node in workflow.nodes if isinstance(node, OutputNode)]
    if len(outputs) != 1:
        yield Problem("output", "", "nodes", "exactly one output", str(len(outputs)))
    for node_id in sorted(order.circles):
        yield Problem("cycle", node_id, "", "no way back to itself", "a circle of references")
    ends = [*outputs, *(node.id for node in workflow.nodes if leaves_something(node, catalog))]
    needed = order.needed_by(ends)
    for node in workflow.nodes:
        if node.id not in needed:
            yield Problem("unreachable", node.id, "", "a result that the output needs", "nobody refers to it")


def leaves_something(node: Node, catalog: Catalog) -> bool:
    """A step that changes something counts, whether or not its result is looked at."""
    specs = [catalog.get(call.tool) for _, call in calls(node)]
    return any(spec is not None and spec.effect != "read" for spec in specs)


def _trigger(workflow: Workflow) -> Iterator[Problem]:
    if workflow.trigger is None:
        return
    groups = set(re.compile(workflow.trigger).groupindex)
    for name in sorted(set(workflow.inputs) - groups):
        yield Problem("trigger", "", f"inputs.{name}", "a group of the trigger with this name", "none")


def _capabilities(workflow: Workflow) -> Iterator[Problem]:
    if workflow.capabilities is None:
        return
    for node in workflow.nodes:
        for place, call in calls(node):
            if call.tool not in workflow.capabilities:
                expected = f"one of {', '.join(sorted(workflow.capabilities)) or 'no tools'}"
                yield Problem("capability", node.id, _under(place, "tool"), expected, call.tool)


def _contracts(workflow: Workflow, order: Order, catalog: Catalog) -> Iterator[Problem]:
    for contract in catalog.contracts:
        for breach in breaches(workflow, contract, order):
            yield Problem("stage", breach.node, _under(breach.place, "tool"), breach.expected, breach.found)


def _node(node: Node, ports: Ports, catalog: Catalog) -> Iterator[Problem]:
    yield from _control(node, ports)
    for place, argument in taken(node):
        if isinstance(argument, Ref) and ports.schema(argument, node, place) is None:
            yield Problem("dangling_reference", node.id, place, ports.possible(node), argument.ref)
    for place, call in calls(node):
        yield from _call(node, place, call, ports, catalog)
    if isinstance(node, MapNode):
        yield from _map(node, ports)
    for place, text, values in _templates(node):
        yield from _template(node.id, place, text, values)
    if isinstance(node, MergeNode) and not node.sources:
        yield Problem("merge", node.id, "sources", "at least one source", "none")
    for place, schema in _schemas(node):
        broken = _broken(schema)
        if broken:
            yield Problem("schema", node.id, place, "a valid JSON Schema", broken)


def _control(node: Node, ports: Ports) -> Iterator[Problem]:
    for name in node.after:
        if name not in ports.nodes:
            yield Problem("dangling_reference", node.id, "after", "the id of a step", name)
    if node.when is not None:
        branch, _, arm = node.when.partition(".")
        names = arms(ports.nodes.get(branch))
        if arm not in names:
            expected = f"an arm of {branch}: {', '.join(names)}" if names else "branch.arm"
            yield Problem("dangling_reference", node.id, "when", expected, node.when)
    names = arms(node)
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem("duplicate_arm", node.id, f"arms.{name}", "each arm once", f"{names.count(name)} times")


def _call(node: Node, place: str, call: Call, ports: Ports, catalog: Catalog) -> Iterator[Problem]:
    spec = catalog.get(call.tool)
    if spec is None:
        yield Problem("unknown_tool", node.id, _under(place, "tool"), "a tool of the catalog", call.tool)
        return
    declared = node.effect if isinstance(node, ToolNode) else None
    if declared is not None and EFFECTS.index(declared) < EFFECTS.index(spec.effect):
        yield Problem("effect", node.id, "effect", f"{spec.effect} or more: {spec.key} is", declared)
    where = _under(place, "arguments")
    for name in spec.required:
        if name not in call.arguments:
            wanted = named_types(property_schema(spec.input_schema, name))
            yield Problem(
                "missing_argument", node.id, f"{where}.{name}", f"{wanted}: the tool requires it", "nothing"
            )
    for name, argument in sorted(call.arguments.items()):
        yield from _argument(node, f"{where}.{name}", name, argument, spec, ports)


def _argument(
    node: Node, path: str, name: str, argument: Argument, spec: ToolSpec, ports: Ports
) -> Iterator[Problem]:
    wanted = property_schema(spec.input_schema, name)
    if wanted is None:
        known = ", ".join(_names(spec.input_schema)) or "no arguments"
        yield Problem(
            "unknown_argument", node.id, path, f"an argument of {spec.key}: {known}", "no such name"
        )
    elif isinstance(argument, Literal):
        yield from _literal(node, path, argument, wanted)
    else:
        found = ports.schema(argument, node, path)
        wrong = misfit(found, wanted) if found else None
        if wrong:
            way, come, taken_ = wrong
            place = ".".join((path, *way))
            yield Problem(
                "argument_type",
                node.id,
                place,
                named_types(taken_),
                f"{named_types(come)} from {argument.ref}",
            )


def _literal(node: Node, path: str, argument: Literal, schema: Schema) -> Iterator[Problem]:
    value: Any = argument.value
    try:
        errors = sorted(validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
    except UNREADABLE as broken:
        message = str(getattr(broken, "message", broken)) or type(broken).__name__
        yield Problem("argument_type", node.id, path, "a tool with a valid schema", message.splitlines()[0])
        return
    for error in errors[:MAX_ERRORS]:
        place = ".".join([path, *(str(part) for part in error.path)])
        expected = named_types(error.schema) if error.validator == "type" else error.message[:200]
        yield Problem("argument_type", node.id, place, expected, type_of(error.instance))


def _map(node: MapNode, ports: Ports) -> Iterator[Problem]:
    if node.limit is None:
        yield Problem("unbounded_map", node.id, "limit", f"a number up to {MAX_ITEMS}", "none")
    elif node.limit > MAX_ITEMS:
        yield Problem("unbounded_map", node.id, "limit", f"at most {MAX_ITEMS}", str(node.limit))
    if isinstance(node.over, Literal):
        kind = type_of(node.over.value)
    else:
        schema = ports.schema(node.over, node)
        kinds = allowed(schema) if schema else ALL
        kind = "array" if "array" in kinds else named_types(schema)
    if kind != "array":
        yield Problem("argument_type", node.id, "over", "array", kind)


def _templates(node: Node) -> Iterator[tuple[str, str, Arguments]]:
    if isinstance(node, OutputNode):
        yield "text", node.text, node.values
    elif isinstance(node, ModelNode):
        yield "prompt", node.prompt, node.values
    elif isinstance(node, MapNode) and isinstance(node.each, Ask):
        yield "each.prompt", node.each.prompt, node.each.values


def _template(node_id: str, place: str, text: str, values: Arguments) -> Iterator[Problem]:
    names, whole = template_names(text)
    if not whole:
        yield Problem("template", node_id, place, "{name}, {{ or }}", "another brace")
    for name in sorted(set(names) - set(values)):
        yield Problem("dangling_reference", node_id, f"{place}.{{{name}}}", "a name of values", "none")


def _schemas(node: Node) -> Iterator[tuple[str, Schema]]:
    if isinstance(node, ModelNode) and node.answer is not None:
        yield "answer", node.answer
    elif isinstance(node, MapNode) and isinstance(node.each, Ask) and node.each.answer is not None:
        yield "each.answer", node.each.answer
    elif node.kind == "validator":
        yield "schema", node.schema


def _broken(schema: Schema) -> str | None:
    try:
        return _why_broken(json.dumps(schema))
    except RecursionError:
        return "it is nested too deep"


@lru_cache(maxsize=1024)
def _why_broken(schema: str) -> str | None:
    """A search checks the same schema thousands of times, and it takes longer than all the rest."""
    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except (SchemaError, RecursionError) as error:
        return str(getattr(error, "message", "it is nested too deep"))[:200]
    return None


def _names(schema: Schema) -> list[str]:
    properties = schema.get("properties")
    return sorted(map(str, properties)) if isinstance(properties, dict) else []


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
