"""A configured workflow played on the cases, and what each run came to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from workflows.callers import Spent
from workflows.calling import Caller
from workflows.engine import run
from workflows.graph import Workflow
from workflows.pareto.meter import TIME_IS_OVER, Answers, Ask, Budget, Made, Meter
from workflows.pareto.space import Prices
from workflows.verify import Case, complaints


class Played(NamedTuple):
    """One case."""

    complaints: tuple[str, ...]
    """None: verified."""
    seconds: float
    made: tuple[Made, ...]
    """In the order in which they ended."""

    def of(self, node: str) -> tuple[Made, ...]:
        return tuple(made for made in self.made if made.at.node == node)


@dataclass
class Bench:
    cases: Sequence[Case]
    caller: Caller
    prices: Prices
    budget: Budget
    ask: Ask | None = None
    default_model: str = ""
    slots: int = 8
    """Calls at once."""
    fresh: Callable[[], Awaitable[None]] | None = None
    """Puts back what runs changed. None: the workflow and all its alternatives only read, and then what was answered
    once in a case need not be asked again in order to profile."""
    _heard: dict[int, Answers] = field(default_factory=dict)

    async def measure(self, workflow: Workflow) -> tuple[Played, ...]:
        """Every call is made. Raises Spent."""
        return tuple([await self._play(workflow, index, {}, "") for index in range(len(self.cases))])

    async def profile(self, workflow: Workflow, step: str) -> tuple[Played, ...]:
        """That step's calls are made. Others that are known are not; what they took then stands in for them, and the whole
        run's time says nothing. Raises Spent."""
        known = [
            self._heard.setdefault(index, {}) if self.fresh is None else {}
            for index in range(len(self.cases))
        ]
        return tuple([await self._play(workflow, index, heard, step) for index, heard in enumerate(known)])

    async def _play(self, workflow: Workflow, index: int, heard: Answers, anew: str) -> Played:
        if self.fresh is not None:
            await self.fresh()
        case, budget = self.cases[index], self.budget
        meter = Meter(self.caller, self.prices, budget, self.ask, self.default_model, heard, anew)
        left, started = budget.seconds(), budget.clock()
        try:
            async with asyncio.timeout(left):
                result = await run(workflow, case.inputs, meter, limit=self.slots)
        except TimeoutError:
            raise Spent(TIME_IS_OVER) from None
        seconds = budget.clock() - started
        self._heard.setdefault(index, {}).update(meter.answered)
        wrong = complaints(case.verify, meter.calls, result.text)
        if result.text is None:
            wrong[:0] = [f"{failed.node}: {failed.error}" for failed in result.failures]
        return Played(tuple(wrong), seconds, tuple(meter.made))
