import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import zip_longest

from harness.calls import Followed
from harness.facts import StepFact, cut, steps_of, workflow_facts
from harness.hooks import Denied
from harness.model import ModelError
from harness.restating import MAX_TOKENS, leans, question, understood
from harness.restating import SCHEMA as RESTATED
from harness.settings import Planning, Policy
from harness.turn import AnswerForm, ModelReply, ModelRequest
from workflows.callers import Spent, Wrapper
from workflows.calling import Caller, Outcome, ToolRequest
from workflows.catalog import Catalog
from workflows.model import ModelFailed, Said
from workflows.solving.solve import Limits, Solved, Tried, solve

Ask = Callable[[ModelRequest], Awaitable[ModelReply]]
"""Raises ModelError and Denied."""
Tell = Callable[[dict[str, object]], None]
"""Is told of each workflow that was made."""


async def planned(
    request: str,
    earlier: Sequence[str],
    ask: Ask,
    catalog: Catalog,
    caller: Caller,
    policy: Policy,
    tell: Tell,
) -> str | None:
    """The answer of a plan for this request; None when nothing was run, or a step of it failed. `earlier`: what the user
    said before. Cancelled, it tells first what was tried until then."""
    planning, end = policy.planning, _End()
    planner = _Planner(ask, planning, end)
    full = await _in_full(request, earlier, planner)
    limits = Limits(
        planning.drafts, planning.tokens, planning.tool_calls, planning.runs, planning.doubted_writes
    )
    followed = Followed(caller)
    calls = _Calls(followed, policy.limits.parallel_tools, end)
    solving = asyncio.ensure_future(solve(full, planner, catalog, calls, limits=limits))
    in_run = False
    try:
        await asyncio.shield(solving)
    except asyncio.CancelledError:
        in_run = calls.under_way > 0
        end.come()
    solved = await solving
    more: dict[str, object] = {} if full == request else {"request": cut(full)}
    for tried in _distinct(solved.tried):
        late = end.came and tried is solved.tried[-1]
        ran = tried.ran and (tried.result is not None or in_run or not late)
        facts = workflow_facts(
            tried.workflow,
            "planned",
            _steps(tried, followed) if ran else (),
            ran=ran,
            answered=not end.came and _answers(solved, tried),
            cut_off=late or (ran and tried.result is None),
            doubts=tried.doubts,
        )
        tell(facts | {"drafts": tried.drafts, "tokens": planner.spent[tried.drafts - 1]} | more)
    if end.came:
        raise asyncio.CancelledError
    return solved.text if any(_answers(solved, tried) for tried in solved.tried) else None


def _answers(solved: Solved, tried: Tried) -> bool:
    """A text that was put together although a step failed may tell of what never happened: it is no answer."""
    result = tried.result
    made = result is not None and result.text is not None and not result.failures
    return made and tried.workflow is solved.workflow


def _steps(tried: Tried, followed: Followed) -> tuple[StepFact, ...]:
    """Of a run that was cut off there are no records."""
    if tried.result is not None:
        return steps_of(tried.result)
    known = {node.id for node in tried.workflow.nodes}
    return tuple(step for step in followed.steps() if step.id in known)


async def _in_full(request: str, earlier: Sequence[str], planner: "_Planner") -> str:
    if not leans(request, earlier):
        return request
    form = AnswerForm(RESTATED, MAX_TOKENS, 0)
    try:
        said = await planner.ask_once(ModelRequest(tuple(question(request, earlier)), (), form))
    except ModelFailed:
        return request
    return understood(said.text, request, earlier)


class _End:
    """Of a turn. It breaks off what is waited for, and lets nothing begin."""

    def __init__(self) -> None:
        self.came = False
        self._open: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def unless(self, seconds: float | None = None) -> AsyncIterator[None]:
        """Raises TimeoutError."""
        if self.came:
            raise TimeoutError
        async with asyncio.timeout(seconds) as scope:
            self._open.add(scope)
            try:
                yield
            finally:
                self._open.discard(scope)

    def come(self) -> None:
        self.came = True
        for scope in self._open:
            if not scope.expired():
                scope.reschedule(0)


@dataclass
class _Planner:
    """The turn's model as `solve` asks it. Once it failed, was refused or took too long, it is not asked again: what there
    is then has to do, and a conversation can still follow."""

    ask: Ask
    planning: Planning
    end: _End
    spent: list[int] = field(default_factory=list)
    """Tokens, after each draft."""
    _used: int = 0
    _begun: float = field(default_factory=time.monotonic)
    _over: bool = False

    @property
    def tokens(self) -> int:
        """All that there may be, once no more can be had: then nobody goes on asking."""
        return self._used + (self.planning.tokens if self._over else 0)

    async def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Said:
        form = AnswerForm(schema, max_tokens, seed)
        try:
            return await self.ask_once(ModelRequest(tuple(map(dict, messages)), (), form))
        finally:
            self.spent.append(self._used)

    async def ask_once(self, request: ModelRequest) -> Said:
        left = self.planning.seconds - (time.monotonic() - self._begun)
        if self._over or left <= 0:
            self._over = True
            raise ModelFailed("it is not asked again in this turn")
        try:
            async with self.end.unless(left):
                reply = await self.ask(request)
        except (ModelError, Denied, TimeoutError) as error:
            self._over = True
            raise ModelFailed(str(error) or "it took too long") from None
        self._used += reply.usage.total
        text = reply.content or ""
        if reply.finish_reason == "length":
            raise ModelFailed("the answer was cut off", text)
        return Said(text, reply.usage.prompt_tokens, reply.usage.completion_tokens)


class _Calls(Wrapper):
    """No more at once than a turn may make, and none after its end."""

    def __init__(self, inner: Caller, parallel: int, end: _End) -> None:
        super().__init__(inner)
        self._slots, self._end = asyncio.Semaphore(parallel), end
        self.under_way = 0

    async def tool(self, request: ToolRequest) -> Outcome:
        async with self._slots:
            self.under_way += 1
            try:
                async with self._end.unless():
                    return await super().tool(request)
            except TimeoutError:
                raise Spent("the turn is over") from None
            finally:
                self.under_way -= 1


def _distinct(tried: Sequence[Tried]) -> Iterator[Tried]:
    """Of those alike that follow one another, what became of the last; and all that were run."""
    for one, after in zip_longest(tried, tried[1:]):
        if one.ran or after is None or after.workflow != one.workflow:
            yield one
