"""Random edits of a workflow's shape, which look at types: steps that come, go, part, become one, or are put between."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import cast

from workflows.catalog import ToolSpec
from workflows.check import MAX_ITEMS, leaves_something
from workflows.edits import Bind, Edit, NotAfter, Remove, RunAfter, Show, Unbind
from workflows.graph import (
    Argument,
    MergeNode,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    ValidatorNode,
    taken,
)
from workflows.reach import reachable
from workflows.reshaping import Add, Each, Hide, Move, Replace, Split, renamed
from workflows.searching.offers import Offers, fresh, properties, slots, wanted
from workflows.searching.operators import OPTIONAL, Edits, argument_of, nodes, pick
from workflows.types import Schema, allowed, at_path, items_schema, sure

DEEPEST = 2
"""Calls behind a new call."""
MADE = 0.25
"""How often a new call's argument comes from another new call, where something there would do."""


def add(offers: Offers, rng: Random) -> Edits:
    """A call, with its required arguments, and with calls that give what nothing else gives; its result goes where it fits,
    or into the answer."""
    spec = pick(rng, list(offers.catalog))
    steps = _with_needs(offers, rng, spec, DEEPEST) if spec else None
    if not steps:
        return None
    *needed, node = steps
    edits: list[Edit] = [Add(step) for step in needed]
    if leaves_something(node, offers.catalog):
        order = offers.order
        last = [name for name in order.sequence if leaves_something(order.nodes[name], offers.catalog)]
        return [*edits, Add(replace(node, after=tuple(last[-1:]))), *_told(offers, rng, node)]
    reader = _reader(offers, rng, steps)
    return [*edits, Add(node), reader] if reader else None


def _with_needs(offers: Offers, rng: Random, spec: ToolSpec, depth: int) -> list[ToolNode] | None:
    """The call, last, behind those that it takes from; None where something that it requires can't be had."""
    arguments: dict[str, Argument] = {}
    steps: list[ToolNode] = []
    for name in sorted(properties(spec)):
        if name not in spec.required and rng.random() >= OPTIONAL:
            continue
        fitting = offers.fitting(None, wanted(spec, name))
        if depth and (not fitting or rng.random() < MADE):
            source = pick(rng, _sources(offers, wanted(spec, name)))
            before = _with_needs(offers, rng, source[0], depth - 1) if source else None
            if source and before:
                known = {step.id for step in steps}
                names = {step.id: fresh(offers.workflow, step.id, known) for step in before}
                steps += [cast(ToolNode, renamed(step, names)) for step in before]
                fitting = [Ref(".".join((steps[-1].id, *source[1])))]
        argument = argument_of(rng, fitting)
        if argument is not None:
            arguments[name] = argument
        elif name in spec.required:
            return None
    own = fresh(offers.workflow, spec.name, {step.id for step in steps})
    return [*steps, ToolNode(id=own, tool=spec.key, arguments=arguments)]


def _sources(offers: Offers, schema: Schema) -> list[tuple[ToolSpec, tuple[str, ...]]]:
    """Tools that only read, with the way into their result to what fits."""
    found: list[tuple[ToolSpec, tuple[str, ...]]] = []
    for spec in offers.catalog:
        output = offers.catalog.output(spec.key) if spec.effect == "read" else {}
        for way in ((), *(tuple(way.split(".")) for way in reachable(output))):
            if sure(at_path(output, way), schema):
                found.append((spec, way))
    return found


def remove(offers: Offers, rng: Random) -> Edits:
    node = pick(rng, [node for node in nodes(offers) if not isinstance(node, OutputNode)])
    return None if node is None else without(offers, node)


def without(offers: Offers, node: Node) -> list[Edit]:
    """The step goes, and all that is taken from it."""
    edits: list[Edit] = []
    for reader in nodes(offers):
        for place, argument in taken(reader):
            if reader.id == node.id or not isinstance(argument, Ref) or argument.source != node.id:
                continue
            hidden = isinstance(reader, OutputNode)
            edits.append(Hide(reader.id, place.partition(".")[2]) if hidden else Unbind(reader.id, place))
    return [*edits, Remove(node.id)]


def move(offers: Offers, rng: Random) -> Edits:
    """Another order: after some other step, no more after one, or two that changed places."""
    node = pick(rng, nodes(offers))
    if node is None:
        return None
    later = offers.after(node.id)
    others = [name for name in offers.order.sequence if name != node.id]
    ways: list[list[Edit]] = [[NotAfter(node.id, name)] for name in node.after]
    ways += [[RunAfter(node.id, name)] for name in others if name not in later and name not in node.after]
    for name in later:
        other = offers.order.nodes[name]
        if node.id in other.after:
            rest = tuple(one for one in other.after if one != node.id)
            ways.append([Move(name, tuple(sorted({*rest, *node.after} - {name}))), Move(node.id, (name,))])
    return pick(rng, sorted(ways, key=repr))


def split(offers: Offers, rng: Random) -> Edits:
    """Only of what leaves nothing: twice is not once."""
    shared = [
        (node.id, reader)
        for node in nodes(offers)
        for reader in offers.readers[node.id]
        if len(offers.readers[node.id]) > 1 and not leaves_something(node, offers.catalog)
    ]
    found = pick(rng, shared)
    return None if found is None else [Split(*found, fresh(offers.workflow, found[0]))]


def join(offers: Offers, rng: Random) -> Edits:
    found = pick(rng, twins(offers))
    return None if found is None else [Replace(*found)]


def twins(offers: Offers) -> list[tuple[str, str]]:
    """Steps that do the same, each with the one that can stand in for it."""
    found = nodes(offers)
    return [
        (one.id, other.id)
        for one in found
        for other in found
        if one.id != other.id and replace(one, id=other.id, after=other.after) == other
    ]


def adapt(offers: Offers, rng: Random) -> Edits:
    """Between a result and an argument of another type: a call for each item of a list, or a list of one item."""
    ways: list[tuple[Node, str, str, Ref, str]] = []
    for node in nodes(offers):
        for place, name, spec in slots(node, offers.catalog):
            schema = wanted(spec, name)
            for ref in offers.ports.refs(node):
                found = offers.schema(ref) or {}
                if name in _own(node, place) and allowed(found) == {"array"}:
                    ways += [(node, place, name, ref, "each")] if sure(items_schema(found), schema) else []
                if allowed(schema) == {"array"} and sure(found, items_schema(schema)):
                    ways.append((node, place, name, ref, "list"))
    chosen = pick(rng, ways)
    if chosen is None:
        return None
    node, place, name, ref, how = chosen
    if how == "each":
        return [Each(node.id, name, ref, MAX_ITEMS)]
    merge = MergeNode(id=fresh(offers.workflow, f"{name}_list"), sources=(ref,), mode="list")
    return [Add(merge), Bind(node.id, place, Ref(merge.id))]


def validate(offers: Offers, rng: Random) -> Edits:
    """A result is checked before it is used."""
    used = [
        (node, place, argument, wanted(spec, name))
        for node in nodes(offers)
        for place, name, spec in slots(node, offers.catalog)
        if isinstance(argument := dict(taken(node)).get(place), Ref) and argument.source != "item"
    ]
    found = pick(rng, used)
    if found is None:
        return None
    node, place, ref, schema = found
    checked = ValidatorNode(id=fresh(offers.workflow, f"{ref.source}_ok"), value=ref, schema=dict(schema))
    return [Add(checked), Bind(node.id, place, Ref(checked.id))]


def _own(node: Node, place: str) -> Mapping[str, Argument]:
    """Of a tool step's call, and no other."""
    return node.arguments if isinstance(node, ToolNode) and place.startswith("arguments.") else {}


def _reader(offers: Offers, rng: Random, steps: list[ToolNode]) -> Edit | None:
    """Where the new step's result fits; the answer takes anything."""
    node, given = steps[-1], offers.ports.given(steps[-1])
    before = {ref.source for step in steps for _, ref in taken(step) if isinstance(ref, Ref)}
    ways: list[Edit] = []
    for other in nodes(offers):
        if other.id in before or any(other.id in offers.order.before.get(name, ()) for name in before):
            continue
        ways += [
            Bind(other.id, place, Ref(node.id))
            for place, name, spec in slots(other, offers.catalog)
            if sure(given, wanted(spec, name))
        ]
        ways += [Show(other.id, Ref(node.id))] if isinstance(other, OutputNode) else []
    return pick(rng, ways)


def _told(offers: Offers, rng: Random, node: Node) -> list[Edit]:
    outputs = [other.id for other in nodes(offers) if isinstance(other, OutputNode)]
    return [Show(outputs[0], Ref(node.id))] if outputs and rng.random() < 0.5 else []
