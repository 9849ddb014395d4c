"""What a step could take in a place: earlier results and inputs whose type is known to fit, and values that were named."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import count
from typing import Any

from jsonschema.protocols import Validator

from workflows.catalog import Catalog, ToolSpec
from workflows.graph import (
    Argument,
    Literal,
    Node,
    OutputNode,
    Ref,
    Workflow,
    calls,
    dependencies,
    taken,
)
from workflows.order import Order
from workflows.ports import Ports
from workflows.schemas import UNREADABLE, validator
from workflows.types import Schema, allowed, property_schema, sure


class Offers:
    """Of one workflow. The catalog has what it may call, and nothing else."""

    def __init__(self, workflow: Workflow, catalog: Catalog, literals: Iterable[object] = ()) -> None:
        self.workflow, self.catalog = workflow, catalog
        self.order = Order(workflow)
        self.ports = Ports(workflow, self.order, catalog)
        self._named = tuple(literals)

    @cached_property
    def values(self) -> list[object]:
        """That were named, and that steps take, each once: true is not 1."""
        return list({repr(value): value for value in (*self._named, *self._used)}.values())

    @cached_property
    def unused(self) -> list[object]:
        """That were named, and that no step takes."""
        used = set(map(repr, self._used))
        return [value for value in self._named if repr(value) not in used]

    @cached_property
    def _used(self) -> list[object]:
        held = [argument for node in self.workflow.nodes for _, argument in taken(node)]
        return [argument.value for argument in held if isinstance(argument, Literal)]

    @cached_property
    def readers(self) -> Mapping[str, list[str]]:
        """Step -> those that take its result, sorted."""
        found: dict[str, list[str]] = {node.id: [] for node in self.workflow.nodes}
        for node in sorted(self.workflow.nodes, key=lambda node: node.id):
            for name in sorted(dependencies(node) - set(node.after)):
                if name in found:
                    found[name].append(node.id)
        return found

    def after(self, node_id: str) -> frozenset[str]:
        """Steps that wait for this one."""
        return frozenset(name for name, before in self.order.before.items() if node_id in before)

    def fitting(self, node: Node | None, wanted: Schema) -> list[Argument]:
        """Sure to fit: what nobody knows the type of is not offered."""
        refs = [ref for ref in self.ports.refs(node) if sure(self.schema(ref), wanted)]
        judge = validator(wanted)
        return [*refs, *(Literal(value) for value in (*said(wanted), *self.values) if _meets(value, judge))]

    def schema(self, ref: Ref) -> Schema | None:
        """Of a reference that is none to a map's item."""
        return self.ports.schema(ref, OutputNode(id="reader", text=""))


def said(schema: Schema) -> list[object]:
    """Values that a schema itself names."""
    values = schema.get("enum")
    found = [schema[key] for key in ("default", "const") if key in schema]
    both: list[object] = [True, False] if allowed(schema) == {"boolean"} else []
    return [*found, *(values if isinstance(values, list) else both)]


def _meets(value: Any, judge: Validator) -> bool:
    try:
        return judge.is_valid(value)
    except UNREADABLE:
        return False


def slots(node: Node, catalog: Catalog) -> Iterator[tuple[str, str, ToolSpec]]:
    """Every argument that a call of the step may have: its place, its name, and its tool."""
    for place, call in calls(node):
        spec = catalog.get(call.tool)
        if spec is not None:
            for name in sorted(properties(spec)):
                yield (f"{place}.arguments.{name}" if place else f"arguments.{name}"), name, spec


def properties(spec: ToolSpec) -> Mapping[str, object]:
    found = spec.input_schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def wanted(spec: ToolSpec, name: str) -> Schema:
    return property_schema(spec.input_schema, name) or {}


def fresh(workflow: Workflow, base: str, known: Iterable[str] = ()) -> str:
    """An id that no step has."""
    letters = "".join(sign if sign.isalnum() else "_" for sign in base.lower() if sign.isascii())
    stem = letters if letters[:1].isalpha() else f"s{letters}"
    used = {*known, *(node.id for node in workflow.nodes)}
    return next(name for number in count(1) if (name := f"{stem[:40]}_{number}") not in used)
