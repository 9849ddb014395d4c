"""What a workflow might do without, one thing at a time: a step, one of two equal ones, a value that its answer tells."""

from collections.abc import Iterator
from dataclasses import replace

from workflows.catalog import Catalog
from workflows.check import check
from workflows.edits import Edit, EditError, Remove, apply, apply_all
from workflows.graph import OutputNode, Workflow
from workflows.reshaping import Hide, Replace
from workflows.searching.offers import Offers
from workflows.searching.operators import nodes
from workflows.searching.shapes import twins, without
from workflows.searching.variation import Offspring, places, sound


def smaller(workflow: Workflow, catalog: Catalog) -> Iterator[Offspring]:
    """Each one makes nothing worse that can be told without a run."""
    offers, known = Offers(workflow, catalog), places(check(workflow, catalog))
    found = nodes(offers)
    ways: list[list[Edit]] = [[Replace(*pair)] for pair in twins(offers)]
    ways += [without(offers, node) for node in found if not isinstance(node, OutputNode)]
    ways += [
        [Hide(node.id, name)]
        for node in found
        if isinstance(node, OutputNode)
        for name in sorted(node.values)
    ]
    for edits in ways:
        child = sound(workflow, edits, workflow, catalog, known)
        if child is not None:
            yield child


def what_is_left(workflow: Workflow, catalog: Catalog) -> Workflow:
    """Without the steps that something is wrong with: at least an answer that tells nothing."""
    while problems := check(workflow, catalog):
        wrong = {problem.node for problem in problems}
        node = next((node for node in nodes(Offers(workflow, catalog)) if node.id in wrong), None)
        if node is None or isinstance(node, OutputNode):
            return replace(workflow, nodes=(OutputNode(id="answer", text=""),), trigger=None)
        try:
            workflow = apply_all(without(Offers(workflow, catalog), node), workflow)
        except EditError:
            workflow = apply(Remove(node.id), workflow)
    return workflow
