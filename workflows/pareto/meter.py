"""What calls take: a Caller that counts each one's time, tokens and money, and ends a run rather than spend too much."""

import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from workflows.callers import Spent, call_key
from workflows.calling import Caller, ModelRequest, Outcome, ToolRequest
from workflows.pareto.space import Price, Prices

MILLI = 1000
TIME_IS_OVER = "the time is over"
FREE = Price(input=0, output=0)
R = TypeVar("R", ToolRequest, ModelRequest)


class Answered(NamedTuple):
    """A model's answer, and the tokens that the endpoint says it took."""

    outcome: Outcome
    prompt_tokens: int
    completion_tokens: int


Ask = Callable[[ModelRequest], Awaitable[Answered]]


class Took(NamedTuple):
    tool_calls: int
    """1, or 0 for a question."""
    tokens: int
    milli_micro_usd: int
    """A thousandth of a micro-USD, so that the price of a single token is an integer."""


NOTHING = Took(0, 0, 0)


class Place(NamedTuple):
    node: str
    place: str
    """As in a request: empty, `each.3`, `policy.recovery`."""
    attempt: int


class Made(NamedTuple):
    """One call of a tool, or one question to a model."""

    at: Place
    seconds: float
    tool_calls: int
    tokens: int
    milli_micro_usd: int


@dataclass
class Budget:
    """Caps over everything that shares it; None: not limited."""

    max_tool_calls: int | None = None
    max_tokens: int | None = None
    deadline: float | None = None
    """On `clock`."""
    clock: Callable[[], float] = time.perf_counter
    tool_calls: int = 0
    tokens: int = 0
    reserved: int = 0
    """For questions under way, at their worst."""

    def fits(self, tool_calls: float, tokens: float) -> bool:
        """What is left is enough for that."""
        calls_left = math.inf if self.max_tool_calls is None else self.max_tool_calls - self.tool_calls
        tokens_left = math.inf if self.max_tokens is None else self.max_tokens - self.tokens
        return tool_calls <= calls_left and tokens <= tokens_left

    def call(self) -> None:
        """Raises Spent."""
        if self.max_tool_calls is not None and self.tool_calls >= self.max_tool_calls:
            raise Spent(f"the {self.max_tool_calls} tool calls are made")
        self.tool_calls += 1

    def reserve(self, request: ModelRequest) -> int:
        """What a question may come to; to be given back when it is answered. Raises Spent."""
        worst = len(request.prompt.encode()) + request.max_tokens  # a token is at least a byte
        if self.max_tokens is not None and self.tokens + self.reserved + worst > self.max_tokens:
            raise Spent(f"the next question may take more than what is left of {self.max_tokens} tokens")
        self.reserved += worst
        return worst

    def seconds(self) -> float | None:
        """That are left; None: as many as one likes. Raises Spent."""
        left = None if self.deadline is None else self.deadline - self.clock()
        if left is not None and left <= 0:
            raise Spent(TIME_IS_OVER)
        return left

    @contextmanager
    def only(self, share: float) -> Iterator[None]:
        """Within, no more than a share of what is left may be spent."""
        whole = self.max_tool_calls, self.max_tokens, self.deadline
        self.max_tool_calls = _part(self.max_tool_calls, self.tool_calls, share)
        self.max_tokens = _part(self.max_tokens, self.tokens, share)
        if self.deadline is not None:
            self.deadline -= (1 - share) * max(0.0, self.deadline - self.clock())
        try:
            yield
        finally:
            self.max_tool_calls, self.max_tokens, self.deadline = whole


def _part(most: int | None, used: int, share: float) -> int | None:
    return None if most is None else used + int(max(0, most - used) * share)


Answers = dict[tuple[Place, str], tuple[Outcome, Made]]
"""By call or question and its place in the run: what was answered, and what that took."""


@dataclass
class Meter:
    """A Caller. What is in `heard` is not asked again, and counts as it counted then, but for what `anew` asks."""

    inner: Caller
    prices: Prices
    budget: Budget
    ask: Ask | None = None
    default_model: str = ""
    """Of a question that names none."""
    heard: Answers = field(default_factory=dict)
    anew: str = ""
    """A step."""
    made: list[Made] = field(default_factory=list)
    calls: list[tuple[ToolRequest, Outcome]] = field(default_factory=list)
    answered: Answers = field(default_factory=dict)
    """What was really asked, and not broken off."""

    async def tool(self, request: ToolRequest) -> Outcome:
        key = call_key(request.tool, request.arguments)
        outcome = await self._known_or(key, request, self._call, self._price(request))
        self.calls.append((request, outcome))
        return outcome

    async def model(self, request: ModelRequest) -> Outcome:
        asked = [request.prompt, request.answer, request.model, request.max_tokens]
        return await self._known_or(json.dumps(asked, sort_keys=True), request, self._question, NOTHING)

    def repeatable(self, tool: str) -> bool:
        return self.inner.repeatable(tool)

    async def _call(self, request: ToolRequest) -> tuple[Outcome, Took]:
        self.budget.call()
        return await self.inner.tool(request), self._price(request)

    def _price(self, request: ToolRequest) -> Took:
        return Took(1, 0, self.prices.tools.get(request.tool, 0) * MILLI)

    async def _question(self, request: ModelRequest) -> tuple[Outcome, Took]:
        if self.ask is None:
            return Outcome(None, "there is no model to ask"), NOTHING
        used = worst = self.budget.reserve(request)
        try:
            outcome, prompt, completion = await self.ask(request)
            used = prompt + completion
        finally:  # of a question that was broken off nobody knows what it took
            self.budget.reserved -= worst
            self.budget.tokens += used
        price = self.prices.models.get(request.model or self.default_model, FREE)
        return outcome, Took(0, used, prompt * price.input + completion * price.output)

    async def _known_or(
        self, key: str, request: R, make: Callable[[R], Awaitable[tuple[Outcome, Took]]], took: Took
    ) -> Outcome:
        """`took`: by one that is broken off, as far as anybody knows."""
        place = Place(request.node, request.place, request.attempt)
        known = self.heard.get((place, key))
        if known is not None and request.node != self.anew:
            self.made.append(known[1])
            return known[0]
        started = self.budget.clock()
        try:
            outcome, took = await make(request)
        finally:
            made = Made(place, self.budget.clock() - started, *took)
            self.made.append(made)
        self.answered[place, key] = outcome, made
        return outcome
