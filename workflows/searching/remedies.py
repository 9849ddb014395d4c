"""What may be done about a workflow before any model is asked: about what the check finds, about the errors of a run, and
about an answer that does not tell enough, the likeliest first."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import partial
from itertools import islice

from workflows.catalog import Catalog
from workflows.check import check, leaves_something
from workflows.edits import Bind, Edit, RunAfter, Show, apply, apply_all
from workflows.graph import Argument, Literal, Node, OutputNode, Ref, ToolNode, Workflow, calls, taken
from workflows.grounding import Request
from workflows.grounding import literals as named_in
from workflows.mending import Mended, all_wrong, mend
from workflows.repairs import proposals, swap
from workflows.reshaping import Add, SetPolicy
from workflows.searching.offers import Offers, fresh, slots, wanted
from workflows.searching.variation import Offspring, capable, places, sound
from workflows.tool_search import search

MOST = 12
"""Edits that are offered for one error."""
MOST_TOOLS, MOST_VALUES, MOST_LOOKS = 3, 4, 4
PASSING = re.compile(
    r"time[d ]?out|no answer within|temporar|try again|rate.?limit|overload|busy|unavailable|connection"
)
MISSING = re.compile(r"the result has no|is not done")


def mendings(workflow: Workflow, catalog: Catalog, request: str) -> Iterator[Mended]:
    """The likeliest repairs of all problems; then with an answer that tells also what nobody takes; then, for one problem
    after the other, another of its repairs."""
    asked = Request(request, catalog) if request else None
    wrong = partial(all_wrong, catalog=catalog, request=asked)
    yield mend(workflow, catalog, request)
    more = _untold(Offers(workflow, catalog))
    if more:
        found = mend(apply_all(more, workflow), catalog, request)
        yield found._replace(edits=(*more, *found.edits))
    for _, ways in proposals(workflow, catalog, asked.values if asked else (), wrong):
        for way in ways:
            found = mend(apply(way.edit, workflow), catalog, request)
            yield found._replace(edits=(way.edit, *found.edits))


def remedies(
    workflow: Workflow, catalog: Catalog, literals: Iterable[object], failures: Iterable[tuple[str, str]]
) -> Iterator[Offspring]:
    """Each one makes nothing worse. Of a run without an error: other answers."""
    within, named = capable(workflow, catalog), tuple(literals)
    known = places(check(workflow, catalog))
    failed = [(node, error) for name, error in failures if (node := workflow.node(name)) is not None]
    offers = Offers(workflow, within, named)
    ways = (edits for node, error in failed for edits in islice(_about(node, error, offers), MOST))
    for edits in ways if failed else _answers(offers):
        found = sound(workflow, edits, workflow, catalog, known)
        if found is not None:
            yield found


def _about(node: Node, error: str, offers: Offers) -> Iterator[Sequence[Edit]]:
    held = dict(taken(node))
    if PASSING.search(error.lower()):
        yield from _patience(node)
    if MISSING.search(error):
        yield from _elsewhere(node, held, offers)
    yield from _said(node, held, error, offers)
    yield from _ordered(node, offers)
    yield from _other_values(node, held, offers)
    yield from _other_tools(node, offers)


def _patience(node: Node) -> Iterator[Sequence[Edit]]:
    old = node.policy
    seconds = old.timeout_seconds and min(old.timeout_seconds * 10, 600.0)
    yield [SetPolicy(node.id, replace(old, retries=min(old.retries + 2, 10), timeout_seconds=seconds))]


def _elsewhere(node: Node, held: dict[str, Argument], offers: Offers) -> Iterator[Sequence[Edit]]:
    """What was not where it was looked for."""
    for place, name, spec in slots(node, offers.catalog):
        argument = held.get(place)
        if isinstance(argument, Ref):
            fitting = [one for one in offers.fitting(node, wanted(spec, name)) if one != argument]
            yield from ([Bind(node.id, place, one)] for one in _nearest(fitting, argument))
    if isinstance(node, OutputNode):
        for place, argument in held.items():
            if isinstance(argument, Ref):
                yield [Bind(node.id, place, Ref(argument.source))]


def _said(node: Node, held: dict[str, Argument], error: str, offers: Offers) -> Iterator[Sequence[Edit]]:
    """Errors tell names: what there is, what is allowed, what is missing."""
    values = named_in(error)
    spoken = Offers(offers.workflow, offers.catalog, values)
    for place, name, spec in slots(node, offers.catalog):
        now = held.get(place)
        if isinstance(now, Ref) or (now is None and name not in error):
            continue
        fitting = [
            one
            for one in spoken.fitting(node, wanted(spec, name))
            if isinstance(one, Literal) and one.value in values and one != now
        ]
        yield from ([Bind(node.id, place, one)] for one in _nearest(fitting, now))


def _ordered(node: Node, offers: Offers) -> Iterator[Sequence[Edit]]:
    """After what changes something, which may be what it needs."""
    later, before = offers.after(node.id), offers.order.before.get(node.id, frozenset())
    changing = [
        name for name in offers.order.sequence if leaves_something(offers.order.nodes[name], offers.catalog)
    ]
    loose = [name for name in changing if name not in later and name not in before and name != node.id]
    if len(loose) > 1:
        yield [RunAfter(node.id, name) for name in loose]
    yield from ([RunAfter(node.id, name)] for name in reversed(loose))


def _other_values(node: Node, held: dict[str, Argument], offers: Offers) -> Iterator[Sequence[Edit]]:
    for place, name, spec in slots(node, offers.catalog):
        if place in held:
            fitting = [one for one in offers.fitting(node, wanted(spec, name)) if one != held[place]]
            yield from ([Bind(node.id, place, one)] for one in fitting[:MOST_VALUES])


def _other_tools(node: Node, offers: Offers) -> Iterator[Sequence[Edit]]:
    for place, call in calls(node):
        for spec in search(offers.catalog, " ".join((call.tool, *sorted(call.arguments))), MOST_TOOLS + 1):
            if spec.key != call.tool:
                yield [swap(node.id, place, call, spec)]


def _answers(offers: Offers) -> Iterator[Sequence[Edit]]:
    """The answer tells what it did not: all that nobody takes, one result after the other. What is told is read when all is
    changed, and a value that was named and that nobody takes may be what is missing."""
    late, untold = _late_reads(offers), _untold(offers)
    yield from (edits for edits in ([*untold, *late], late, untold) if edits)
    for way in islice(_unused(offers), MOST):
        yield [way, *untold]
        yield [way]
    yield from islice(_looks(offers), MOST_LOOKS)
    output = next((node for node in offers.workflow.nodes if isinstance(node, OutputNode)), None)
    if output is not None:
        told = {argument.ref for _, argument in taken(output) if isinstance(argument, Ref)}
        others = (name for name in reversed(offers.order.sequence) if name != output.id and name not in told)
        yield from ([Show(output.id, Ref(name))] for name in others)
    yield from ([edit] for edit in late)


def _looks(offers: Offers) -> Iterator[Sequence[Edit]]:
    """One more look, when all is changed, at the servers that are used: tools that read and that need nothing which is not
    there."""
    nodes = [offers.order.nodes[name] for name in offers.order.sequence]
    [output, *_] = [node.id for node in nodes if isinstance(node, OutputNode)] or [""]
    changing = tuple(node.id for node in nodes if leaves_something(node, offers.catalog))
    servers = {tool.partition("/")[0] for tool in offers.workflow.tools}
    for spec in offers.catalog if output else ():
        if spec.effect != "read" or spec.server not in servers:
            continue
        fitting = {name: offers.fitting(None, wanted(spec, name)) for name in spec.required}
        if all(fitting.values()):
            given = {name: found[0] for name, found in fitting.items()}
            node = ToolNode(
                id=fresh(offers.workflow, spec.name), tool=spec.key, arguments=given, after=changing
            )
            yield [Add(node), Show(output, Ref(node.id))]


def _unused(offers: Offers) -> Iterator[Edit]:
    for value in offers.unused:
        for node in offers.workflow.nodes:
            for place, name, spec in slots(node, offers.catalog):
                if Literal(value) in offers.fitting(node, wanted(spec, name)):
                    yield Bind(node.id, place, Literal(value))


def _untold(offers: Offers) -> list[Edit]:
    """Results of calls that nobody takes."""
    output = next((node for node in offers.workflow.nodes if isinstance(node, OutputNode)), None)
    calling = [name for name in offers.order.sequence if any(True for _ in calls(offers.order.nodes[name]))]
    return [Show(output.id, Ref(name)) for name in calling if not offers.readers[name]] if output else []


def _late_reads(offers: Offers) -> list[Edit]:
    """What only reads comes after what changes something, where nothing is taken the other way."""
    edits: list[Edit] = []
    for name in offers.order.sequence:
        node = offers.order.nodes[name]
        if leaves_something(node, offers.catalog) or not any(True for _ in calls(node)):
            continue
        for other in offers.order.sequence:
            changes = leaves_something(offers.order.nodes[other], offers.catalog)
            if changes and other not in offers.order.before[name] and name not in offers.order.before[other]:
                edits.append(RunAfter(name, other))
    return edits


def _nearest(found: Iterable[Argument], to: Argument | None) -> list[Argument]:
    """By how they are written."""

    def written(argument: Argument | None) -> str:
        return argument.ref if isinstance(argument, Ref) else str(argument.value).lower() if argument else ""

    def likeness(one: Argument) -> float:
        return SequenceMatcher(None, written(one), written(to), autojunk=False).ratio()

    return sorted(found, key=lambda one: -likeness(one))[:MOST_VALUES]
