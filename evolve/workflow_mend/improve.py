"""The search for a better version of one shipped workflow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from evolve.workflow_mend.judge import Judge
from evolve.workflow_mend.neighbours import neighbours
from workflows.catalog import Catalog
from workflows.difference import difference
from workflows.edits import RunAfter
from workflows.graph import Workflow, calls
from workflows.order import Order
from workflows.searching.fitness import Fitness
from workflows.searching.lines import in_line
from workflows.searching.search import search
from workflows.searching.terms import Limits

MOST_NEIGHBOURS = 80


@dataclass(frozen=True)
class Improved:
    workflow: Workflow
    mends: tuple[str, ...]
    """Cases."""
    complete: bool
    """All that it should mend."""
    tried: int
    ended: str


Shape = Callable[[Workflow], bytes]
"""A version as the file's content."""


@dataclass
class _Course:
    """What is known while one workflow is searched."""

    file: str
    first: Workflow
    shape: Shape
    judge: Judge
    failing: tuple[str, ...]
    passing: tuple[str, ...]
    asked: int = 0
    least: tuple[int, int] | None = None
    """Changes and depth of the best version that mends everything."""

    async def evaluate(self, workflow: Workflow) -> Fitness:
        """By the visible cases; of two that mend as much the one that changes less is better, then the one whose steps wait
        less. One failing case comes first, each in turn, and the others only if it is mended: most versions mend nothing.
        Once everything is mended, nothing else is worth a replay."""
        size = len(difference(self.first, workflow).changes), len(Order(workflow).layers)
        if self.least is not None and size >= self.least:
            return _fitness(0.0, size)
        every = len(self.failing) + len(self.passing)
        mended, good = await self._mended(workflow), len(self.passing)
        if mended == len(self.failing) and self.passing:
            found = await self.judge.passing(self.file, self.shape(workflow), self.passing)
            good = sum(found.values())
        if mended + good == every:
            self.least = size
        return _fitness((mended + good) / every, size)

    async def _mended(self, workflow: Workflow) -> int:
        content, first = self.shape(workflow), self.failing[self.asked % len(self.failing)]
        self.asked += 1
        others = [case for case in self.failing if case != first]
        found = await self.judge.passing(self.file, content, [first])
        if others and found.get(first):
            found |= await self.judge.passing(self.file, content, others)
        return sum(found.values())


def _fitness(completion: float, size: tuple[int, int]) -> Fitness:
    return Fitness(completion, cost=size[0], latency=size[1])


def at_once(workflow: Workflow, catalog: Catalog) -> Catalog:
    """Tools that the shipped version calls at once bear that, whatever they may do: no search puts them in line."""
    orders = [edit for edit in in_line(workflow, catalog) if isinstance(edit, RunAfter)]
    loose = {name for order in orders for name in (order.node, order.other)}
    bear = {call.tool for node in workflow.nodes if node.id in loose for _, call in calls(node)}
    tools = {
        key: replace(spec, effect="read") if key in bear else spec for key, spec in catalog.tools.items()
    }
    return replace(catalog, tools=tools)


async def improve(
    file: str,
    workflow: Workflow,
    catalog: Catalog,
    shape: Shape,
    judge: Judge,
    failing: Sequence[str],
    passing: Sequence[str],
    *,
    seed: int,
    seconds: float,
    progress: Callable[[str], None],
) -> Improved | None:
    """None: nothing was found that mends any of `failing` and breaks none of `passing`. `catalog`: what it may
    call. Raises CheckBroken."""
    catalog = at_once(workflow, catalog)
    course = _Course(file, workflow, shape, judge, tuple(failing), tuple(passing))
    near = [child.workflow for child in islice(neighbours(workflow, catalog), MOST_NEIGHBOURS)]
    limits = Limits(seconds=seconds)
    found = await search(
        [workflow, *near], catalog, course.evaluate, seed=seed, limits=limits, progress=progress
    )
    best = found.best.workflow
    if best == workflow:
        return None
    outcome = await judge.passing(file, shape(best))
    mends = tuple(case for case in failing if outcome.get(case))
    if not mends or any(outcome.get(case) is False for case in passing):
        return None
    return Improved(best, mends, len(mends) == len(failing), found.evaluated, found.ended)
