"""Everything that is wrong with a workflow, found before any tool is called, all at once."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from workflows.catalog import Catalog, ToolSpec
from workflows.graph import (
    INPUTS,
    Literal,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
    dependencies,
    references,
    template_names,
)
from workflows.types import allowed, at_path, fits, property_schema, type_of

MAX_NODES = 64


class Problem(NamedTuple):
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
    """All problems, in node order; none means that the engine can run it on these tools."""
    return (*_shape(workflow), *_order(workflow), *_trigger(workflow), *_nodes(workflow, catalog))


def _shape(workflow: Workflow) -> Iterator[Problem]:
    ids = [node.id for node in workflow.nodes]
    for node_id in sorted({node_id for node_id in ids if ids.count(node_id) > 1}):
        yield Problem("duplicate_node", node_id, "id", "each id once", f"{ids.count(node_id)} times")
    if len(ids) > MAX_NODES:
        yield Problem("too_large", "", "nodes", f"at most {MAX_NODES}", str(len(ids)))
    outputs = sum(isinstance(node, OutputNode) for node in workflow.nodes)
    if outputs != 1:
        yield Problem("output", "", "nodes", "exactly one output", str(outputs))


def _order(workflow: Workflow) -> Iterator[Problem]:
    """Cycles, and nodes that no output needs."""
    for node_id in sorted(set(_cyclic(workflow))):
        yield Problem("cycle", node_id, "", "no way back to itself", "a circle of references")
    needed: set[str] = set()
    frontier = [node for node in workflow.nodes if isinstance(node, OutputNode)]
    waiting: list[Node] = list(frontier)
    while waiting:
        node = waiting.pop()
        if node.id not in needed:
            needed.add(node.id)
            waiting.extend(other for other in workflow.nodes if other.id in dependencies(node))
    for node in workflow.nodes:
        if node.id not in needed:
            yield Problem("unreachable", node.id, "", "a result that the output needs", "nobody refers to it")


def _cyclic(workflow: Workflow) -> Iterator[str]:
    needs = {node.id: set(dependencies(node)) for node in workflow.nodes}
    for start in needs:
        seen, waiting = set[str](), list(needs[start])
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting.extend(needs.get(current, ()))
        if start in seen:
            yield start


def _trigger(workflow: Workflow) -> Iterator[Problem]:
    if workflow.trigger is None:
        return
    groups = set(re.compile(workflow.trigger).groupindex)
    for name in sorted(set(workflow.inputs) - groups):
        yield Problem("trigger", "", f"inputs.{name}", "a group of the trigger with this name", "none")


def _nodes(workflow: Workflow, catalog: Catalog) -> Iterator[Problem]:
    for node in workflow.nodes:
        if isinstance(node, OutputNode):
            yield from _output(node, workflow, catalog)
            continue
        spec = catalog.get(node.tool)
        if spec is None:
            yield Problem("unknown_tool", node.id, "tool", "a tool of the catalog", node.tool)
        yield from _references(node, spec, workflow, catalog)
        if spec is not None:
            yield from _arguments(node, spec)


def _output(node: OutputNode, workflow: Workflow, catalog: Catalog) -> Iterator[Problem]:
    yield from _references(node, None, workflow, catalog)
    names, whole = template_names(node.text)
    if not whole:
        yield Problem("template", node.id, "text", "{name}, {{ or }}", "another brace")
    for name in sorted(set(names) - set(node.values)):
        yield Problem("dangling_reference", node.id, f"text.{{{name}}}", "a name of values", "none")


def _references(node: Node, spec: ToolSpec | None, workflow: Workflow, catalog: Catalog) -> Iterator[Problem]:
    for name, ref in references(node):
        schema = _source_schema(ref, workflow, catalog)
        if schema is None:
            yield Problem("dangling_reference", node.id, name, "an input or an earlier result", str(ref))
            continue
        wanted = property_schema(spec.input_schema, name) if spec else None
        if wanted is not None and not fits(allowed(schema), allowed(wanted)) and schema:
            yield Problem("argument_type", node.id, name, _types(wanted), f"{_types(schema)} from {ref}")


def _source_schema(ref: Ref, workflow: Workflow, catalog: Catalog) -> Mapping[str, object] | None:
    """JSON Schema of what the reference leads to; `{}` when unknown, None when it leads nowhere."""
    if ref.source == INPUTS:
        declared = workflow.inputs.get(ref.path[0]) if ref.path else None
        return None if declared is None else at_path(declared, ref.path[1:])
    node = workflow.node(ref.source)
    if not isinstance(node, ToolNode):
        return None
    spec = catalog.get(node.tool)
    return at_path(spec.output_schema, ref.path) if spec and spec.output_schema else {}


def _arguments(node: ToolNode, spec: ToolSpec) -> Iterator[Problem]:
    required = spec.input_schema.get("required")
    for name in required if isinstance(required, list) else []:
        if name not in node.arguments:
            yield Problem("missing_argument", node.id, name, "a value: the tool requires it", "nothing")
    for name, argument in sorted(node.arguments.items()):
        schema = property_schema(spec.input_schema, name)
        if schema is None:
            yield Problem("unknown_argument", node.id, name, f"an argument of {spec.key}", "no such name")
        elif isinstance(argument, Literal):
            yield from _literal(node, name, argument, schema)


def _literal(node: ToolNode, name: str, argument: Literal, schema: dict[str, object]) -> Iterator[Problem]:
    try:
        errors = sorted(Draft202012Validator(schema).iter_errors(argument.value), key=lambda e: list(e.path))
    except SchemaError as broken:
        yield Problem("argument_type", node.id, name, "a tool with a valid schema", broken.message)
        return
    for error in errors:
        path = ".".join([name, *(str(part) for part in error.path)])
        expected = _types(schema) if error.validator == "type" else error.message
        yield Problem("argument_type", node.id, path, expected, type_of(error.instance))


def _types(schema: object) -> str:
    return " or ".join(sorted(allowed(schema))) if isinstance(schema, dict) else "anything"
