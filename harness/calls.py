"""The calls of workflows in a turn: through the same hooks, limits and events as the conversation's."""

import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from harness.dispatch import Dispatch, refusal
from harness.events import HeldLog, numbered
from harness.facts import State, StepFact
from harness.hooks import Denied
from harness.model import ModelError
from harness.tools import model_name
from harness.turn import AnswerForm, Message, ModelReply, ToolAsk, ToolCall, ToolResult, TurnContext, Usage
from harness.turn import ModelRequest as Question
from workflows.callers import Wrapper
from workflows.calling import Caller, ModelRequest, Outcome, ToolRequest
from workflows.catalog import ToolSpec
from workflows.model import read_answer

Ask = Callable[[TurnContext, Question], Awaitable[ModelReply]]
"""Raises ModelError and Denied."""
RECOVERY = "policy.recovery"


class WorkflowCaller:
    """Each step's events are held back, so that their order does not tell who was faster."""

    def __init__(self, dispatch: Dispatch, ask: Ask, context: TurnContext, name: str) -> None:
        self._dispatch, self._ask, self._context, self._name = dispatch, ask, context, name
        self._logs: defaultdict[str, HeldLog] = defaultdict(HeldLog)
        self._names: Counter[str] = Counter()
        self._made: dict[str, tuple[ToolCall, ToolResult]] = {}

    async def tool(self, request: ToolRequest) -> Outcome:
        server, _, tool = request.tool.partition("/")
        words = [self._name, request.node, *([request.place] if request.place else [])]
        words += [str(request.attempt)] if request.attempt > 1 else []
        wanted = ToolCall(self._unique("_".join(words)), server, tool, request.arguments)
        self._made[wanted.call_id] = wanted, _cut_off(wanted)
        [result] = await self._dispatch.run(self._of_step(request.node), [wanted])
        self._made[wanted.call_id] = wanted, result
        return Outcome(result.value, result.content if result.is_error else None, result.uncertain)

    async def model(self, request: ModelRequest) -> Outcome:
        """The prompt alone, as the workflow was tried with: neither the conversation nor its instructions."""
        message: Message = {"role": "user", "content": request.prompt}
        form = AnswerForm(request.answer, request.max_tokens, None)
        try:
            reply = await self._ask(
                self._of_step(request.node), Question((message,), (), form, request.model)
            )
        except ModelError as error:
            return Outcome(None, str(error))
        except Denied as denied:
            return Outcome(None, refusal(denied))
        if reply.finish_reason == "length":
            return Outcome(None, f"the model's answer was cut off at {request.max_tokens} tokens")
        if reply.content is None:
            return Outcome(None, "the model answered without a text")
        return read_answer(request, reply.content)

    def repeatable(self, tool: str) -> bool:
        return self._dispatch.may_repeat(self._context, tool)

    def release(self, steps: Iterable[str] | None = None) -> None:
        """Hand the events on, in the order of these steps; else by their names."""
        for step in sorted(self._logs, key=numbered) if steps is None else steps:
            self._logs[step].release(self._context.log)

    def done(self) -> frozenset[str]:
        """Tools that did something, or may have, and must not do it twice."""
        return frozenset(
            call.key
            for call, result in self._made.values()
            if result.attempts and (result.uncertain or not result.is_error) and not self.repeatable(call.key)
        )

    def messages(self) -> tuple[Message, ...]:
        """The calls as if the model had asked for them, and their results; in an order that does not tell who was
        faster."""
        made = [self._made[name] for name in sorted(self._made, key=numbered)]
        asks = tuple(ToolAsk(call.call_id, _model_name(call), json.dumps(call.arguments)) for call, _ in made)
        asked = ModelReply(None, asks, "tool_calls", Usage()).message
        return (asked, *(result.message for _, result in made)) if made else ()

    def _of_step(self, node: str) -> TurnContext:
        return replace(self._context, log=self._logs[node])

    def _unique(self, name: str) -> str:
        """A step may run again, in another workflow of the turn."""
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_r{self._names[name]}"


class Followed(Wrapper):
    """Knows how far each step got, also of a run that is cut off and so leaves no records."""

    def __init__(self, inner: Caller) -> None:
        super().__init__(inner)
        self._ends: defaultdict[str, dict[str, Outcome | None]] = defaultdict(dict)
        """Step -> place -> its last call's end; None: under way."""
        self._attempts: Counter[str] = Counter()

    async def tool(self, request: ToolRequest) -> Outcome:
        return await self._follow(request, super().tool(request))

    async def model(self, request: ModelRequest) -> Outcome:
        return await self._follow(request, super().model(request))

    def steps(self) -> tuple[StepFact, ...]:
        return tuple(self._step(node) for node in sorted(self._ends, key=numbered))

    async def _follow(self, request: ToolRequest | ModelRequest, call: Awaitable[Outcome]) -> Outcome:
        ends = self._ends[request.node]
        self._attempts[request.node] += 1
        ends[request.place] = None
        ends[request.place] = outcome = await call
        return outcome

    def _step(self, node: str) -> StepFact:
        ends = self._ends[node]
        last = [ends[RECOVERY]] if RECOVERY in ends else list(ends.values())
        failed = [end.error for end in last if end is not None and end.error is not None]
        state: State = "cut_off" if None in last else "failed" if failed else "done"
        return StepFact(node, state, self._attempts[node], failed[0] if failed else None)


def _cut_off(call: ToolCall) -> ToolResult:
    """What stands there for a call whose end its workflow did not wait for."""
    return ToolResult(call.call_id, call.server, call.tool, "The call was cut off.", True, uncertain=True)


def _model_name(call: ToolCall) -> str:
    return model_name(ToolSpec(call.server, call.tool))
