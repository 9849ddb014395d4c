"""Illegal orders of tool calls, found before any call: each contract is a finite-state machine over some tools' calls.

In a partial order a call is legal if it is legal in every course that the order allows. What changes the stage has to
stand in a line with every other call under the contract, or in another arm of the same branch.
"""

from collections.abc import Iterator
from typing import NamedTuple

from workflows.catalog import Contract, Move
from workflows.graph import Workflow, calls
from workflows.order import Order


class Breach(NamedTuple):
    node: str
    place: str
    """Where in the step the call stands; empty for a tool step's own."""
    expected: str
    found: str


class _Call(NamedTuple):
    node: str
    place: str
    move: Move

    @property
    def certain(self) -> bool:
        """Happens once if its step runs. A map's may happen never or often, a recovery never."""
        return not self.place


def breaches(
    workflow: Workflow, contract: Contract, order: Order, start: str | None = None
) -> Iterator[Breach]:
    """In running order. `start`: the stage, where it is not the contract's own; for what is left of a workflow that ran
    in part."""
    found = [
        _Call(name, place, contract.tools[call.tool])
        for name in order.sequence
        for place, call in calls(order.nodes[name])
        if call.tool in contract.tools
    ]
    changing = [call for call in found if call.move.to is not None]
    for call in found:
        loose = sorted({other.node for other in changing if _loose(call, other, order)})
        if loose:
            expected = f"to run before or after {', '.join(loose)} ({contract.name})"
            yield Breach(call.node, call.place, expected, "no order")
            continue
        illegal = _stages(call, changing, order, start or contract.start) - set(call.move.allowed)
        if illegal:
            expected = f"{contract.name} in stage {' or '.join(call.move.allowed) or '(none)'}"
            yield Breach(call.node, call.place, expected, f"stage {' or '.join(sorted(illegal))}")


def _loose(call: _Call, other: _Call, order: Order) -> bool:
    if call.node == other.node:
        return False
    ordered = call.node in order.before[other.node] or other.node in order.before[call.node]
    return not ordered and not order.exclusive(call.node, other.node)


def _stages(call: _Call, changing: list[_Call], order: Order, start: str) -> set[str]:
    """Stages in which the call may find itself."""
    stages = {start}
    for other in changing:
        same = other.node == call.node and other.place <= call.place
        repeated = other == call and call.place == "each"
        if other == call and not repeated:
            continue
        if not same and (other.node not in order.before[call.node] or order.exclusive(call.node, other.node)):
            continue
        certain = not same and other.certain and order.conditions[other.node] <= order.conditions[call.node]
        to = {other.move.to} if other.move.to else set()
        stages = to if certain else stages | to
    return stages
