"""Repair of a planned workflow without asking anybody: the checker's own candidates, one edit after the other, while
each leaves less that is wrong. What the request does not say, and no tool gave, is a problem, too."""

from functools import partial
from typing import NamedTuple

from workflows.catalog import Catalog
from workflows.check import Problem, check, leaves_something
from workflows.edits import Edit, RunAfter, apply
from workflows.graph import Node, Workflow, calls
from workflows.grounding import Request, ungrounded
from workflows.order import Order
from workflows.repairs import proposals

MOST_EDITS = 24
FIRST = (
    "unknown_tool",
    "unknown_argument",
    "missing_argument",
    "argument_type",
    "dangling_reference",
    "ungrounded",
)
"""In this order: which tool it is decides what its arguments are; and what looks needless may be what a made-up value stands
for."""


class Mended(NamedTuple):
    workflow: Workflow
    edits: tuple[Edit, ...]
    left: tuple[Problem, ...]
    """That nothing was found for."""


def all_wrong(workflow: Workflow, catalog: Catalog, request: Request | None) -> tuple[Problem, ...]:
    """The check's problems, and, where there is a request, values that come from nowhere."""
    made_up = ungrounded(workflow, catalog, request) if request else ()
    return (*check(workflow, catalog), *made_up)


def mend(workflow: Workflow, catalog: Catalog, request: str) -> Mended:
    """Deterministic. The workflow may still be wrong: `left` says so."""
    edits: list[Edit] = []
    asked = Request(request, catalog) if request else None
    wrong = partial(all_wrong, catalog=catalog, request=asked)

    for _ in range(MOST_EDITS):
        found = proposals(workflow, catalog, asked.values if asked else (), wrong)
        chosen = next((way for _, ways in sorted(found, key=_urgency) for way in ways), None)
        if chosen is None:
            break
        workflow = apply(chosen.edit, workflow)
        edits.append(chosen.edit)
    for edit in in_order(workflow, catalog):
        workflow = apply(edit, workflow)
        edits.append(edit)
    return Mended(workflow, tuple(edits), wrong(workflow))


def in_order(workflow: Workflow, catalog: Catalog) -> list[Edit]:
    """Steps on one server, of which one changes something, run in the order in which they were written, where nothing else
    orders them: a plan is a list, and whoever writes one means it so."""
    order, edits = Order(workflow), list[Edit]()
    steps = [node for node in workflow.nodes if node.id in order.before and any(True for _ in calls(node))]
    for index, node in enumerate(steps):
        for other in reversed(steps[:index]):
            bound = node.id in order.before[other.id] or other.id in order.before[node.id]
            if not bound and _meet(node, other, catalog):
                edits.append(RunAfter(node.id, other.id))
                break
    return edits


def _meet(one: Node, other: Node, catalog: Catalog) -> bool:
    servers = [{call.tool.partition("/")[0] for _, call in calls(node)} for node in (one, other)]
    return bool(servers[0] & servers[1]) and any(leaves_something(node, catalog) for node in (one, other))


def _urgency(item: tuple[Problem, object]) -> tuple[int, str, str]:
    problem = item[0]
    place = FIRST.index(problem.kind) if problem.kind in FIRST else len(FIRST)
    return place, problem.node, problem.path
