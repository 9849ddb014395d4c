"""Steps that would race: on one server, where one of them changes something, they run one after the other. A candidate whose
outcome hangs on who comes first is no candidate."""

from workflows.catalog import Catalog
from workflows.check import leaves_something
from workflows.edits import Edit, RunAfter
from workflows.graph import Node, Workflow, calls
from workflows.order import Order


def in_line(workflow: Workflow, catalog: Catalog) -> list[Edit]:
    """Into the order in which they are written, as far as what they take from one another allows. A workflow with a circle
    stays as it is."""
    order = Order(workflow)
    if len(order.sequence) < len(workflow.nodes):
        return []
    line = _line(workflow, order)
    before = {name: set(order.before[name]) for name in line}
    edits: list[Edit] = []
    for index, name in enumerate(line):
        for other in reversed(line[:index]):
            loose = other not in before[name] and not order.exclusive(name, other)
            if loose and _race(order.nodes[name], order.nodes[other], catalog):
                edits.append(RunAfter(name, other))
                before[name] |= {other, *before[other]}
        for later in line[index + 1 :]:
            if name in before[later]:
                before[later] |= before[name]
    return edits


def _line(workflow: Workflow, order: Order) -> list[str]:
    """Every step after those that it waits for, and else as it is written."""
    line: list[str] = []
    waiting = [node.id for node in workflow.nodes]
    while waiting:
        ready = next(name for name in waiting if order.needs[name] <= set(line))
        waiting.remove(ready)
        line.append(ready)
    return line


def _race(one: Node, other: Node, catalog: Catalog) -> bool:
    mine, theirs = ({call.tool.partition("/")[0] for _, call in calls(node)} for node in (one, other))
    return bool(mine & theirs) and any(leaves_something(node, catalog) for node in (one, other))
