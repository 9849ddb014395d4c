"""Planning in a turn: drafts from the turn's own model, brought together and run through the turn's own hooks and limits.

It is loaded by the first turn that plans, for most services never do.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from harness.facts import workflow_facts
from harness.hooks import Denied
from harness.model import ModelError
from harness.settings import Policy
from harness.turn import AnswerForm, ModelReply, ModelRequest
from workflows.callers import Wrapper
from workflows.calling import Caller, Outcome, ToolRequest
from workflows.catalog import Catalog
from workflows.model import ModelFailed, Said
from workflows.solving.solve import Limits, Solved, Tried, solve

Ask = Callable[[int, ModelRequest], Awaitable[ModelReply]]
"""With the number of the question in its turn. Raises ModelError and Denied."""


class Planned(NamedTuple):
    text: str | None
    """The answer; None when nothing was run, or a step of it failed."""
    facts: tuple[dict[str, object], ...]
    """Of each workflow that was made."""
    asked: int
    """Questions to the model."""


async def planned(request: str, ask: Ask, catalog: Catalog, caller: Caller, policy: Policy) -> Planned:
    """What a plan for this request comes to."""
    planning = policy.planning
    planner = _Planner(ask, planning.seconds)
    limits = Limits(
        planning.drafts, planning.tokens, planning.tool_calls, planning.runs, planning.doubted_writes
    )
    calls = _Slots(caller, policy.limits.parallel_tools)
    solved = await solve(request, planner, catalog, calls, limits=limits)
    facts = tuple(_facts(tried, solved, planner.spent) for tried in _distinct(solved.tried))
    answered = any(fact["answered"] for fact in facts)
    return Planned(solved.text if answered else None, facts, planner.asked)


@dataclass
class _Planner:
    """The turn's model as `solve` asks it. Once it failed, was refused or took too long, it is not asked again: what there
    is then has to do, and a conversation can still follow."""

    ask: Ask
    seconds: float
    spent: list[int] = field(default_factory=list)
    """Tokens, after each draft."""
    asked: int = 0
    tokens: int = 0
    _begun: float = field(default_factory=time.monotonic)
    _over: bool = False

    async def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Said:
        try:
            return await self._complete(
                ModelRequest(tuple(map(dict, messages)), (), AnswerForm(schema, max_tokens, seed))
            )
        finally:
            self.spent.append(self.tokens)

    async def _complete(self, request: ModelRequest) -> Said:
        left = self.seconds - (time.monotonic() - self._begun)
        if self._over or left <= 0:
            raise ModelFailed("it is not asked again in this turn")
        self.asked += 1
        try:
            async with asyncio.timeout(left):
                reply = await self.ask(self.asked - 1, request)
        except (ModelError, Denied, TimeoutError) as error:
            self._over = True
            raise ModelFailed(str(error) or "it took too long") from None
        self.tokens += reply.usage.total
        text = reply.content or ""
        if reply.finish_reason == "length":
            raise ModelFailed("the answer was cut off", text)
        return Said(text, reply.usage.prompt_tokens, reply.usage.completion_tokens)


class _Slots(Wrapper):
    """No more calls at once than a turn may make."""

    def __init__(self, inner: Caller, parallel: int) -> None:
        super().__init__(inner)
        self._slots = asyncio.Semaphore(parallel)

    async def tool(self, request: ToolRequest) -> Outcome:
        async with self._slots:
            return await super().tool(request)


def _distinct(tried: Sequence[Tried]) -> Iterator[Tried]:
    """Of those alike that follow one another, what became of the last; and all that were run."""
    for one, after in zip_longest(tried, tried[1:]):
        if one.ran or after is None or after.workflow != one.workflow:
            yield one


def _facts(tried: Tried, solved: Solved, spent: Sequence[int]) -> dict[str, object]:
    """A text that was put together although a step failed may tell of what never happened: it is no answer."""
    result = tried.result
    answered = (
        tried.workflow is solved.workflow
        and result is not None
        and result.text is not None
        and not result.failures
    )
    return workflow_facts(
        tried.workflow,
        "planned",
        result,
        ran=tried.ran,
        answered=answered,
        doubts=tried.doubts,
        drafts=tried.drafts,
        tokens=spent[tried.drafts - 1],
    )
