"""A workflow's nearest variants, one typed change each, the likeliest first: a mistake is mostly one thing in one place, and
what was forgotten is what nobody reads."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import combinations
from typing import NamedTuple

from workflows.catalog import Catalog
from workflows.check import check
from workflows.edits import Bind, Edit
from workflows.graph import INPUTS, Argument, Node, OutputNode, Ref, Workflow, calls, taken
from workflows.repairs import swap
from workflows.searching.offers import Offers, slots, wanted
from workflows.searching.variation import Offspring, places, sound
from workflows.tool_search import search, words

MOST_TOOLS = 6
EXCHANGED, SWAPPED, DOUBLED = 2.5, 2.0, 1.5
"""Where these stand among bindings, the best of which weigh some 4."""


class _Way(NamedTuple):
    weight: float
    edits: tuple[Edit, ...]


def neighbours(workflow: Workflow, catalog: Catalog) -> Iterator[Offspring]:
    """None makes anything worse that can be told without a run."""
    known = places(check(workflow, catalog))
    offers = Offers(workflow, catalog)
    ways = [
        way
        for node in workflow.nodes
        for way in (*_bindings(node, offers), *_exchanges(node), *_tools(node, catalog))
    ]
    for way in sorted(ways, key=lambda way: (-way.weight, repr(way.edits))):
        found = sound(workflow, way.edits, workflow, catalog, known)
        if found is not None:
            yield found


def _bindings(node: Node, offers: Offers) -> Iterator[_Way]:
    """Everything else that a place could take."""
    held = dict(taken(node))
    read = {one.ref for other in offers.workflow.nodes for _, one in taken(other) if isinstance(one, Ref)}
    doubled = DOUBLED if _is_double(node, offers.workflow) else 0.0

    def way(place: str, name: str, other: Argument) -> _Way:
        weight = doubled + _weight(f"{node.id} {name}", held.get(place), other, read)
        return _Way(weight, (Bind(node.id, place, other),))

    for place, name, spec in slots(node, offers.catalog):
        fitting = offers.fitting(node, wanted(spec, name))
        yield from (way(place, name, other) for other in fitting if other != held.get(place))
    for place, argument in held.items() if isinstance(node, OutputNode) else ():
        name = place.rpartition(".")[2]
        yield from (way(place, name, other) for other in offers.ports.refs(node) if other != argument)


def _is_double(node: Node, workflow: Workflow) -> bool:
    """It calls what another step calls, with the very same arguments."""
    made = [call for _, call in calls(node)]
    others = [call for other in workflow.nodes if other.id != node.id for _, call in calls(other)]
    return any(call in others for call in made)


def _weight(names: str, old: Argument | None, new: Argument, read: set[str]) -> float:
    """An input that nobody reads yet; what ends in the same word as what it replaces, is of the same step, or sounds like
    the place or its step."""
    if not isinstance(new, Ref):
        return 0.0
    weight = 2.0 * (new.source == INPUTS and new.ref not in read)
    weight += bool(set(words(new.ref)) & set(words(names)))
    if isinstance(old, Ref):
        weight += old.path[-1:] == new.path[-1:]
        weight += old.source == new.source
        weight += SequenceMatcher(None, old.ref, new.ref, autojunk=False).ratio()
    return weight


def _exchanges(node: Node) -> Iterator[_Way]:
    """Two places of one step take what the other did."""
    held = [
        (place, argument) for place, argument in taken(node) if place.startswith(("arguments.", "values."))
    ]
    for (one, first), (other, second) in combinations(held, 2):
        if first != second:
            yield _Way(EXCHANGED, (Bind(node.id, one, second), Bind(node.id, other, first)))


def _tools(node: Node, catalog: Catalog) -> Iterator[_Way]:
    """Other tools that share words with the call, with its arguments carried over."""
    for place, call in calls(node):
        wanted_words = " ".join((call.tool, *sorted(call.arguments)))
        for rank, spec in enumerate(search(catalog, wanted_words, MOST_TOOLS)):
            if spec.key != call.tool:
                yield _Way(SWAPPED - rank / MOST_TOOLS, (swap(node.id, place, call, spec),))
