"""Random edits within a step, which look at types: another tool, another argument, another policy, another answer.

Each takes a workflow with what its steps could take, and gives edits that belong together, or none where it has nothing to
do; `variation` sees to it that what comes of them is no worse. Whatever is drawn comes from the generator that is handed in,
out of lists in an order of their own: a seed means one course.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from workflows.catalog import ToolSpec
from workflows.check import MAX_ITEMS
from workflows.edits import Bind, Bound, Edit, Show, Unbind
from workflows.graph import (
    Argument,
    Call,
    Literal,
    MapNode,
    Node,
    OutputNode,
    Policy,
    Ref,
    ToolNode,
    calls,
    taken,
)
from workflows.repairs import swap
from workflows.reshaping import Hide, SetPolicy
from workflows.searching.offers import Offers, properties, slots, wanted
from workflows.tool_search import search
from workflows.types import ALL, allowed

Edits = list[Edit] | None
Operator = Callable[[Offers, Random], Edits]
NEAR = 6
"""Tools that share words with the one that is swapped are drawn from so many; now and then it is any."""
ANY = 0.2
OPTIONAL = 0.2
"""How often a new call gives an argument that its tool does not require."""
TIMEOUTS = (1.0, 5.0, 30.0, 120.0)
MOST_RETRIES = 3
T = TypeVar("T")


def swap_tool(offers: Offers, rng: Random) -> Edits:
    """Arguments are carried over by name and type; what is then missing is bound."""
    found = pick(rng, [(node, place, call) for node in nodes(offers) for place, call in calls(node)])
    if found is None:
        return None
    node, place, call = found
    spec = _other_tool(offers, rng, call)
    if spec is None:
        return None
    edit = swap(node.id, place, call, spec)
    held = {new for _, new in edit.renamed}
    more = filled(offers, rng, spec, node, held)
    if more is None:
        return None
    where = f"{place}.arguments" if place else "arguments"
    return [edit, *(Bind(node.id, f"{where}.{name}", argument) for name, argument in more.items())]


def bind(offers: Offers, rng: Random) -> Edits:
    found = pick(rng, [(node, *slot) for node in nodes(offers) for slot in slots(node, offers.catalog)])
    if found is None:
        return None
    node, place, name, spec = found
    argument = argument_of(rng, offers.fitting(node, wanted(spec, name)))
    return None if argument is None else [Bind(node.id, place, argument)]


def unbind(offers: Offers, rng: Random) -> Edits:
    optional = [
        (node.id, place)
        for node in nodes(offers)
        for place, name, spec in slots(node, offers.catalog)
        if name not in spec.required and place in dict(taken(node))
    ]
    found = pick(rng, optional)
    return None if found is None else [Unbind(*found)]


def set_policy(offers: Offers, rng: Random) -> Edits:
    node = pick(rng, [node for node in nodes(offers) if any(True for _ in calls(node))])
    if node is None:
        return None
    old = node.policy
    kinds = ["retries", "timeout", "recovery", "fallback"]
    kind = rng.choice(kinds)
    policy: Policy | None = None
    if kind == "retries":
        policy = replace(old, retries=rng.choice([n for n in range(MOST_RETRIES + 1) if n != old.retries]))
    elif kind == "timeout":
        policy = replace(old, timeout_seconds=rng.choice([None, *TIMEOUTS]))
    elif kind == "recovery" and isinstance(node, ToolNode):
        policy = replace(old, recovery=None) if old.recovery else _recovery(offers, rng, node)
    elif kind == "fallback":
        given = offers.ports.given(node)
        fitting = offers.fitting(node, given) if not old.fallback and allowed(given) != ALL else []
        policy = replace(old, fallback=argument_of(rng, fitting))
    return None if policy is None or policy == old else [SetPolicy(node.id, policy)]


def tell(offers: Offers, rng: Random) -> Edits:
    """The answer tells something else, something more or something less."""
    output = pick(rng, [node for node in nodes(offers) if isinstance(node, OutputNode)])
    if output is None:
        return None
    ways: list[Edit] = [Show(output.id, ref) for ref in offers.ports.refs(output)]
    for name in sorted(output.values):
        ways += [Hide(output.id, name)] * 3
        ways += [Bind(output.id, f"values.{name}", ref) for ref in offers.ports.refs(output)]
    way = pick(rng, ways)
    return None if way is None else [way]


def bound(offers: Offers, rng: Random) -> Edits:
    node = pick(rng, [node for node in nodes(offers) if isinstance(node, MapNode)])
    return None if node is None else [Bound(node.id, rng.choice([1, 10, MAX_ITEMS]))]


def nodes(offers: Offers) -> list[Node]:
    """By id: how a file was written draws nothing."""
    return sorted(offers.workflow.nodes, key=lambda node: node.id)


def filled(
    offers: Offers, rng: Random, spec: ToolSpec, node: Node | None, held: frozenset[str] | set[str]
) -> dict[str, Argument] | None:
    """For what the tool requires beside what is held, and now and then for more; None where nothing fits."""
    found: dict[str, Argument] = {}
    for name in sorted(properties(spec)):
        needed = name in spec.required
        if name in held or not (needed or rng.random() < OPTIONAL):
            continue
        argument = argument_of(rng, offers.fitting(node, wanted(spec, name)))
        if argument is not None:
            found[name] = argument
        elif needed:
            return None
    return found


def _other_tool(offers: Offers, rng: Random, call: Call) -> ToolSpec | None:
    near = search(offers.catalog, " ".join((call.tool, *sorted(call.arguments))), NEAR)
    pool = list(offers.catalog) if rng.random() < ANY else near
    return pick(rng, [spec for spec in pool if spec.key != call.tool])


def _recovery(offers: Offers, rng: Random, node: ToolNode) -> Policy | None:
    """Another tool in its place that only reads: a write that comes after a failed one may come twice."""
    spec = _other_tool(offers, rng, Call(node.tool, node.arguments))
    if spec is None or spec.effect != "read":
        return None
    edit = swap(node.id, "", Call(node.tool, node.arguments), spec)
    carried = {new: node.arguments[old] for old, new in edit.renamed}
    more = filled(offers, rng, spec, node, set(carried))
    return None if more is None else replace(node.policy, recovery=Call(spec.key, {**carried, **more}))


def argument_of(rng: Random, fitting: Sequence[Argument]) -> Argument | None:
    """As often a literal as a result, however many there are of either."""
    kinds = [[one for one in fitting if isinstance(one, kind)] for kind in (Literal, Ref)]
    kind = pick(rng, [one for one in kinds if one])
    return pick(rng, kind) if kind else None


def pick(rng: Random, found: Sequence[T]) -> T | None:
    return rng.choice(found) if found else None
