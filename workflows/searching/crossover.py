"""Crossover of two workflows: a step of one, with all that it needs, joins the other or takes the place of a step there."""

from random import Random

from workflows.catalog import Catalog
from workflows.check import leaves_something
from workflows.edits import Bind, Edit, Show
from workflows.graph import RESERVED, BranchNode, Node, OutputNode, Ref, Workflow, taken
from workflows.order import Order
from workflows.reshaping import Add, Replace, renamed
from workflows.searching.offers import Offers, slots, wanted
from workflows.types import sure


def crossed(one: Workflow, other: Workflow, catalog: Catalog, rng: Random) -> list[Edit] | None:
    """Edits of `one`; None if `other` has nothing to give. Steps that `one` has already are used, not copied."""
    order = Order(other)
    given = [
        order.nodes[name]
        for name in order.sequence
        if not isinstance(order.nodes[name], OutputNode | BranchNode)
    ]
    if not given:
        return None
    root = rng.choice(given)
    names, joining = _grafted(
        one, [order.nodes[name] for name in order.sequence if name in order.needed_by([root.id])]
    )
    new = names[root.id]
    ways = _ways(one, renamed(root, names), catalog) if new not in _ids(one) else [[]]
    if leaves_something(root, catalog):
        ways.append([])
    chosen = rng.choice(ways) if ways else []
    edits: list[Edit] = [*(Add(node) for node in joining), *chosen]
    return edits or None


def _grafted(one: Workflow, needed: list[Node]) -> tuple[dict[str, str], list[Node]]:
    """What the steps are called in `one`, and those that it lacks, in running order."""
    names: dict[str, str] = {}
    joining: list[Node] = []
    for node in needed:
        copy = renamed(node, names)
        same = next((have.id for have in one.nodes if renamed(copy, {copy.id: have.id}) == have), None)
        if same is None:
            same = _free(node.id, _ids(one) | set(names.values()))
            joining.append(renamed(node, {**names, node.id: same}))
        names[node.id] = same
    return names, joining


def _ways(one: Workflow, root: Node, catalog: Catalog) -> list[list[Edit]]:
    """It stands in for a step, it is bound where it fits, or the answer tells it."""
    offers = Offers(one, catalog)
    result = offers.ports.given(root)
    ways: list[list[Edit]] = []
    for node in sorted(one.nodes, key=lambda node: node.id):
        if isinstance(node, OutputNode):
            ways.append([Show(node.id, Ref(root.id))])
            ways += [
                [Bind(node.id, place, Ref(root.id))]
                for place, _ in taken(node)
                if place.startswith("values.")
            ]
            continue
        ways.append([Replace(node.id, root.id)])
        ways += [
            [Bind(node.id, place, Ref(root.id))]
            for place, name, spec in slots(node, catalog)
            if sure(result, wanted(spec, name))
        ]
    return ways


def _ids(workflow: Workflow) -> set[str]:
    return {node.id for node in workflow.nodes}


def _free(name: str, used: set[str]) -> str:
    found, number = name, 1
    while found in used or found in RESERVED:
        number += 1
        found = f"{name[:40]}_{number}"
    return found
