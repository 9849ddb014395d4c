"""What another version of a workflow changes: its steps, and what it may do that the first one may not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflows.catalog import Catalog
from workflows.codec import to_json
from workflows.graph import EFFECTS, Effect, Workflow, calls


@dataclass(frozen=True, slots=True)
class Change:
    node: str
    place: str
    """Where in the step, in the workflow's JSON; empty: the step itself."""
    before: Any
    """None: not there before."""
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    changes: tuple[Change, ...]
    """By step, then by place. Changes of the workflow itself stand first, under an empty step."""
    gained: Mapping[str, Effect]
    """Capabilities that only the other version has: tool -> effect, or a greater effect of a tool that both have."""
    lost: Mapping[str, Effect]

    def __bool__(self) -> bool:
        return bool(self.changes)


def capabilities(workflow: Workflow, catalog: Catalog | None = None) -> dict[str, Effect]:
    """Every tool that some course of the workflow may call, with its effect. What the catalog does not know may do
    anything, whatever the workflow's author declares."""
    tools = {call.tool for node in workflow.nodes for _, call in calls(node)}
    return {tool: _effect(tool, catalog) for tool in sorted(tools)}


def difference(one: Workflow, other: Workflow, catalog: Catalog | None = None) -> Difference:
    before, after = to_json(one), to_json(other)
    changes = [Change("", *found) for found in _changes(_head(before), _head(after))]
    nodes, others = _by_id(before), _by_id(after)
    for node_id in sorted(nodes.keys() | others.keys()):
        if node_id in nodes and node_id in others:
            changes.extend(Change(node_id, *found) for found in _changes(nodes[node_id], others[node_id]))
        else:
            changes.append(Change(node_id, "", nodes.get(node_id), others.get(node_id)))
    had, has = capabilities(one, catalog), capabilities(other, catalog)
    return Difference(tuple(changes), _more(had, has), _more(has, had))


def _effect(tool: str, catalog: Catalog | None) -> Effect:
    spec = catalog.get(tool) if catalog is not None else None
    return spec.effect if spec is not None else "irreversible"


def _more(had: Mapping[str, Effect], has: Mapping[str, Effect]) -> dict[str, Effect]:
    return {
        tool: effect
        for tool, effect in has.items()
        if tool not in had or EFFECTS.index(effect) > EFFECTS.index(had[tool])
    }


def _head(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "nodes"}


def _by_id(table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["id"]: node for node in table["nodes"]}


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any], place: str = ""
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key), after.get(key)
        where = f"{place}.{key}" if place else key
        if (
            key in before
            and key in after
            and isinstance(one, dict)
            and isinstance(other, dict)
            and not _leaf(one, other)
        ):
            found.extend(_changes(one, other, where))
        elif one != other or (key in before) != (key in after):
            found.append((where, one, other))
    return found


def _leaf(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Arguments, literals and references, are shown whole."""
    return any(key in table for table in (one, other) for key in ("ref", "value"))
