"""What each step of a workflow gives, as a JSON Schema, and what a reference from another step finds there."""

from functools import cached_property

from workflows.catalog import Catalog
from workflows.graph import (
    INPUTS,
    ITEM,
    Ask,
    Literal,
    MapNode,
    MergeNode,
    ModelNode,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    ValidatorNode,
    Workflow,
)
from workflows.order import Order, arms
from workflows.reach import reachable
from workflows.types import Schema, at_path, items_schema, type_of

TEXT: Schema = {"type": "string"}


class Ports:
    def __init__(self, workflow: Workflow, order: Order, catalog: Catalog) -> None:
        self.nodes, self._workflow, self._order, self._catalog = order.nodes, workflow, order, catalog
        self._given: dict[str, Schema] = {}

    def schema(self, ref: Ref, reader: Node, place: str = "") -> Schema | None:
        """Of what the reference leads to, seen from a place in `reader`; `{}` when nobody knows, None when it leads
        nowhere."""
        source, path = ref.source, ref.path
        if source == INPUTS:
            declared = self._workflow.inputs.get(path[0]) if path else self._inputs
            return None if declared is None else at_path(declared, path[1:])
        if source == ITEM:
            within = isinstance(reader, MapNode) and place.startswith("each")
            return at_path(self._item(reader), path) if within else None
        node = self.nodes.get(source)
        return None if node is None or isinstance(node, OutputNode) else at_path(self.given(node), path)

    def given(self, node: Node) -> Schema:
        """What the step gives when all goes well; `{}` when nobody knows, as with a step that may recover or fall
        back."""
        if node.id not in self._given:
            self._given[node.id] = {}  # what a circle finds
            other = node.policy.recovery or node.policy.fallback
            self._given[node.id] = {} if other else self._gives(node)
        return self._given[node.id]

    def refs(self, node: Node | None) -> list[Ref]:
        """Everything that a step could take without waiting for itself; None: a step that is not there yet."""
        before = self._order.before
        found = [Ref(f"{INPUTS}.{name}") for name in sorted(self._workflow.inputs)]
        for name in self._order.sequence:
            other = self.nodes[name]
            itself = node is not None and (name == node.id or node.id in before[name])
            if not itself and not isinstance(other, OutputNode):
                found += [Ref(name), *(Ref(f"{name}.{way}") for way in reachable(self.given(other)))]
        return found

    def possible(self, reader: Node) -> str:
        """For people: where a reference of `reader` may lead."""
        after = self._order.before.get(reader.id, frozenset())
        names = [*(f"{INPUTS}.{name}" for name in sorted(self._workflow.inputs)), *sorted(after)]
        return (
            f"an input or an earlier result: {', '.join(names[:12])}"
            if names
            else "an input or an earlier result"
        )

    @cached_property
    def _inputs(self) -> Schema:
        inputs = self._workflow.inputs
        return {"type": "object", "properties": dict(inputs), "required": sorted(inputs)}

    def _gives(self, node: Node) -> Schema:
        match node:
            case ToolNode():
                return self._catalog.output(node.tool)
            case ModelNode():
                return TEXT if node.answer is None else node.answer
            case MapNode():
                return {"type": "array", "items": self._each(node)}
            case MergeNode():
                return self._merged(node)
            case ValidatorNode():
                return node.schema
        names = arms(node)
        return {"type": "string", "enum": list(names)} if names else {}

    def _each(self, node: MapNode) -> Schema:
        if isinstance(node.each, Ask):
            return TEXT if node.each.answer is None else node.each.answer
        return self._catalog.output(node.each.tool)

    def _item(self, node: Node) -> Schema:
        assert isinstance(node, MapNode)
        if isinstance(node.over, Literal):
            values = node.over.value
            kinds = sorted({type_of(value) for value in values}) if isinstance(values, list) else []
            return {"type": kinds} if kinds else {}
        over = self.schema(node.over, node)
        return items_schema(over) if over else {}

    def _merged(self, node: MergeNode) -> Schema:
        found = [self.schema(ref, node) or {} for ref in node.sources]
        different = [schema for index, schema in enumerate(found) if schema not in found[:index]]
        one: Schema = {} if {} in different else different[0] if len(different) == 1 else {"anyOf": different}
        return {"type": "array", "items": one} if node.mode == "list" else one
