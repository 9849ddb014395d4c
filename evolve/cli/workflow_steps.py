"""A workflow's steps as rows of a table."""

from collections.abc import Iterator

from workflows.graph import Workflow, dependencies
from workflows.mermaid import what
from workflows.order import Order

COLUMNS = ("step", "does", "after")


def steps(found: Workflow) -> Iterator[tuple[str, str, str]]:
    """In the order in which they may start."""
    order = Order(found)
    for name in (*order.sequence, *sorted(order.nodes.keys() - set(order.sequence))):
        node = order.nodes[name]
        yield name, what(node), ", ".join(sorted(dependencies(node)))
