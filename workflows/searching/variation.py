"""A workflow's offspring: random typed edits. Only those count that make nothing worse and reach for nothing new."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from workflows.catalog import Catalog
from workflows.check import Problem, check
from workflows.edits import Edit, EditError, Remove, apply_all
from workflows.graph import Workflow
from workflows.searching.crossover import crossed
from workflows.searching.offers import Offers
from workflows.searching.operators import Operator, bind, bound, set_policy, swap_tool, tell, unbind
from workflows.searching.shapes import adapt, add, join, move, remove, split, validate

OPERATORS: Mapping[Operator, int] = {
    bind: 6, swap_tool: 4, add: 4, tell: 3, move: 2, remove: 2, adapt: 2, unbind: 1, validate: 1, set_policy: 1,
    split: 1, join: 1, bound: 1,
}  # fmt: skip
"""How often each is drawn, against the others."""
TRIES = 12
"""Draws before a workflow counts as one that nothing can be done with."""


class Offspring(NamedTuple):
    workflow: Workflow
    edits: tuple[Edit, ...]
    """That lead from the parent to it."""


def vary(
    workflow: Workflow, catalog: Catalog, literals: Iterable[object], rng: Random, *, intensity: int = 1
) -> Offspring | None:
    """So many random edits, one after the other. The offspring has no problem that its parent does not have, and calls
    no tool that is not in the catalog, or not among the workflow's capabilities, unless its parent does. None: nothing was
    found to do."""
    within, named = capable(workflow, catalog), tuple(literals)
    known = places(check(workflow, catalog))
    found, edits = workflow, list[Edit]()
    for _ in range(intensity):
        step = _one(found, catalog, within, named, rng, known)
        if step is not None:
            found = step.workflow
            edits += step.edits
    steps = [{node.id: node for node in one.nodes} for one in (found, workflow)]
    return Offspring(found, tuple(edits)) if steps[0] != steps[1] else None


def cross(one: Workflow, other: Workflow, catalog: Catalog, rng: Random) -> Offspring | None:
    """A step of `other`, with all that it needs, in the place of one of `one`'s, or beside them."""
    known = places(check(one, catalog))
    for _ in range(TRIES):
        edits = crossed(one, other, catalog, rng)
        found = sound(one, edits, one, catalog, known) if edits else None
        if found is not None:
            return found
    return None


def sound(
    parent: Workflow, edits: Sequence[Edit], first: Workflow, catalog: Catalog, known: frozenset[str]
) -> Offspring | None:
    """With what nobody needs any more removed; None if something new is wrong with it, or it may do what `first` may not."""
    done, found = list(edits), parent
    try:
        found = apply_all(edits, parent)
        while new := [problem for problem in check(found, catalog) if place(problem) not in known]:
            needless = [Remove(problem.node) for problem in new if problem.kind == "unreachable"]
            if len(needless) < len(new):
                return None
            found = apply_all(needless, found)
            done += needless
    except EditError:
        return None
    gained = found.tools - first.tools - set(capable(first, catalog).tools)
    return None if gained or found == parent else Offspring(found, tuple(done))


def capable(workflow: Workflow, catalog: Catalog) -> Catalog:
    """The tools of the catalog that the workflow may call."""
    if workflow.capabilities is None:
        return catalog
    tools = {key: spec for key, spec in catalog.tools.items() if key in workflow.capabilities}
    return replace(catalog, tools=tools)


def places(problems: Iterable[Problem]) -> frozenset[str]:
    return frozenset(map(place, problems))


def place(problem: Problem) -> str:
    return f"{problem.kind} {problem.node} {problem.path}"


def _one(
    workflow: Workflow,
    catalog: Catalog,
    within: Catalog,
    literals: tuple[object, ...],
    rng: Random,
    known: frozenset[str],
) -> Offspring | None:
    offers = Offers(workflow, within, literals)
    for _ in range(TRIES):
        [operator] = rng.choices(list(OPERATORS), list(OPERATORS.values()))
        edits = operator(offers, rng)
        found = sound(workflow, edits, workflow, catalog, known) if edits else None
        if found is not None:
            return found
    return None
