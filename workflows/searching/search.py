"""Evolutionary search of a workflow that does its task, judged by what really came of it.

In this order, each only if what came before was not enough: repairs that need no run, repairs of what failed in a run,
random typed edits and crossover, edits that a model proposes, and a redesign by the model that knows what was tried. What is
complete is then made smaller, as long as nothing is lost.

Who calls says how a workflow is evaluated; nothing here calls a tool or a model. With the same seed and an evaluation that
always says the same, a search is always the same.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from random import Random

from workflows.callers import Spent
from workflows.catalog import Catalog
from workflows.check import check
from workflows.codec import digest
from workflows.edits import Edit, apply_all
from workflows.graph import Workflow
from workflows.grounding import Request
from workflows.learn import joined
from workflows.searching.fitness import NOTHING, Fitness
from workflows.searching.lines import in_line
from workflows.searching.population import Tried, front, parent, structure, survivors
from workflows.searching.remedies import mendings, remedies
from workflows.searching.slimming import smaller, what_is_left
from workflows.searching.terms import Evaluate, Found, Limits, Progress, Proposal, Propose, Redesign
from workflows.searching.variation import cross, vary

BROOD = 8
"""Offspring of a generation."""
DRAWS = 3
"""Of which the one whose structure was seen least is tried."""
CROSSED = 0.3
MOST_INTENSITY = 5
MOST_MENDINGS, MOST_REMEDIES = 12, 32
"""Of one workflow, and of one failed run."""
MOST_HISTORY = 8
"""Of what was tried, the best first, that a redesign is told."""


async def search(
    first: Sequence[Workflow],
    catalog: Catalog,
    evaluate: Evaluate,
    *,
    seed: int,
    limits: Limits,
    request: str = "",
    literals: Iterable[object] = (),
    propose: Propose | None = None,
    redesign: Redesign | None = None,
    progress: Progress | None = None,
) -> Found:
    """From at least one workflow. No tool is called that `catalog` does not have. `evaluate` is given only what the check
    finds nothing wrong with, and may raise `callers.Spent`, which ends the search as a limit does."""
    course = _Search(catalog, evaluate, Random(seed), limits, request, literals, progress)
    try:
        async with asyncio.timeout(limits.seconds) as clock:
            await course.run(first, propose, redesign)
    except TimeoutError:
        if not clock.expired():
            raise
        course.ended = "seconds"
    except _Over as over:
        course.ended = str(over)
    except Spent:
        course.ended = "tool_calls"
    return course.found(first)


class _Over(Exception):
    """A limit is reached."""


class _Search:
    def __init__(
        self,
        catalog: Catalog,
        evaluate: Evaluate,
        rng: Random,
        limits: Limits,
        request: str,
        literals: Iterable[object],
        progress: Progress | None,
    ) -> None:
        self._catalog, self._evaluate, self._rng, self._limits = catalog, evaluate, rng, limits
        self._request, self._progress = request, progress or (lambda line: None)
        self._literals = (*literals, *(Request(request, catalog).values if request else ()))
        self._tried: dict[str, Tried] = {}
        self._seen: Counter[str] = Counter()
        self._bred: Counter[str] = Counter()
        self._remedied: set[str] = set()
        self._spent, self._saved, self._generations = NOTHING, 0, 0
        self._population, self._fresh = list[Tried](), list[Tried]()
        self._best: Tried | None = None
        self.ended = "stagnation"

    async def run(
        self, first: Sequence[Workflow], propose: Propose | None, redesign: Redesign | None
    ) -> None:
        await self._begin(first, "start")
        await self._remedy()
        barren = 0
        while not self._complete and barren < self._limits.give_up_after:
            before = self._best
            await self._generation(1 + min(barren // 2, MOST_INTENSITY - 1))
            await self._remedy()
            barren = 0 if self._better_than(before) else barren + 1
            if barren and barren % self._limits.ask_after == 0:
                await self._ask(propose, redesign, barren)
            barren = 0 if self._better_than(before) else barren
        if self._complete:
            await self._slim()

    def found(self, first: Sequence[Workflow]) -> Found:
        best = self._best or Tried(first[0], digest(first[0]), Fitness(0.0, 0.0, 0.0), "start")
        every = tuple(front(self._tried.values()))
        ended = "complete" if best.fitness.complete else self.ended
        course = [best]
        while course[0].parent is not None:
            course.insert(0, self._tried[course[0].parent])
        return Found(
            best, tuple(course), every, self._spent, len(self._tried), self._saved, self._generations, ended
        )

    @property
    def _complete(self) -> bool:
        return self._best is not None and self._best.fitness.complete

    def _better_than(self, before: Tried | None) -> bool:
        return self._best is not None and (before is None or self._best.order < before.order)

    async def _begin(self, workflows: Sequence[Workflow], origin: str) -> None:
        """What is wrong is mended before it runs; if that can't be done, what is right of it is begun with."""
        for workflow in workflows:
            await self._try(workflow, origin)
            for found in islice(mendings(workflow, self._catalog, self._request), MOST_MENDINGS):
                if not self._complete:
                    await self._try(found.workflow, "repair", edits=found.edits)
            if not self._tried:
                await self._try(what_is_left(workflow, self._catalog), "repair")
        self._select()

    async def _remedy(self) -> None:
        """From error to error, as long as each is followed by less of them."""
        while (best := self._best) and not best.fitness.complete and best.digest not in self._remedied:
            self._remedied.add(best.digest)
            failures, catalog = best.fitness.failures, self._catalog
            ways = remedies(best.workflow, catalog, self._literals, failures)
            for child in islice(ways, MOST_REMEDIES):
                await self._try(child.workflow, "errors", best, child.edits)
                if self._best is not best:
                    break
        self._select()

    async def _generation(self, intensity: int) -> None:
        self._generations += 1
        for child in self._brood(intensity):
            await self._try(*child)
            if self._complete:
                break
        self._select()

    def _select(self) -> None:
        self._population, self._fresh = survivors([*self._population, *self._fresh]), []

    def _brood(self, intensity: int) -> Iterator[tuple[Workflow, str, Tried, tuple[Edit, ...]]]:
        for _ in range(BROOD):
            drawn = [child for _ in range(DRAWS) if (child := self._child(intensity))]
            if drawn:
                yield min(drawn, key=lambda child: self._seen[structure(child[0])])

    def _child(self, intensity: int) -> tuple[Workflow, str, Tried, tuple[Edit, ...]] | None:
        """One that was not tried before."""
        if not self._population:
            return None
        one = parent(self._population, self._bred, self._rng)
        other = self._rng.choice(self._population)
        child = None
        if other is not one and self._rng.random() < CROSSED:
            child = cross(one.workflow, other.workflow, self._catalog, self._rng)
        origin = "crossover" if child else "edits"
        child = child or vary(one.workflow, self._catalog, self._literals, self._rng, intensity=intensity)
        self._bred[one.niche] += 1
        if child is None or digest(child.workflow) in self._tried:
            return None
        return child.workflow, origin, one, child.edits

    async def _ask(self, propose: Propose | None, redesign: Redesign | None, barren: int) -> None:
        """For edits of the best, and every other time for another design. When its tokens are used up, the search goes on
        without it."""
        try:
            if propose is not None and (best := self._best) is not None and not best.fitness.complete:
                self._within("tokens", self._spent.tokens, self._limits.tokens)
                self._progress(f"asking the model for edits; {self._told()}")
                await self._take(await propose(best), "model")
            if redesign is not None and not self._complete and barren % (2 * self._limits.ask_after) == 0:
                self._within("tokens", self._spent.tokens, self._limits.tokens)
                self._progress(f"asking the model for another design; {self._told()}")
                history = sorted(self._tried.values(), key=lambda one: one.order)[:MOST_HISTORY]
                await self._take(await redesign(history), "redesign")
        except _Over as over:
            if str(over) != "tokens":
                raise

    async def _take(self, proposal: Proposal, origin: str) -> None:
        self._spent = self._spent.plus(proposal.spent)
        await self._begin(proposal.workflows, origin)

    async def _slim(self) -> None:
        """Less that does as well, until nothing can go."""
        while best := self._best:
            for child in smaller(best.workflow, self._catalog):
                await self._try(child.workflow, "smaller", best, child.edits)
                if self._best is not best:
                    break
            else:
                return

    async def _try(
        self, workflow: Workflow, origin: str, source: Tried | None = None, edits: tuple[Edit, ...] = ()
    ) -> None:
        if check(workflow, self._catalog):
            return
        lines = in_line(workflow, self._catalog)
        workflow, edits = apply_all(lines, workflow), (*edits, *lines)
        key = digest(workflow)
        if key in self._tried:
            self._saved += 1
            return
        self._within("tool_calls", self._spent.tool_calls, self._limits.tool_calls)
        fitness = await self._evaluate(workflow)
        self._spent = self._spent.plus(fitness.spent)
        tried = Tried(workflow, key, fitness, origin, source.digest if source else None, edits)
        self._tried[key] = tried
        self._fresh.append(tried)
        self._seen[structure(workflow)] += 1
        if self._best is None or tried.order < self._best.order:
            self._best = tried
        self._learn(fitness)
        self._progress(self._told())

    def _learn(self, fitness: Fitness) -> None:
        known = self._catalog.learnt
        news = {
            tool: joined(known[tool], new) if tool in known else new for tool, new in fitness.learnt.items()
        }
        self._catalog = self._catalog.with_learnt(news)

    def _within(self, name: str, spent: int, limit: int | None) -> None:
        if limit is not None and spent >= limit:
            raise _Over(name)

    def _told(self) -> str:
        best = self._best
        return (
            f"{len(self._tried)} tried in {self._generations} generations, "
            f"best {best.fitness.completion if best else 0:.0%}, "
            f"{self._spent.tool_calls} tool calls, {self._spent.tokens} tokens"
        )
