"""The calls of workflows in a turn: through the same hooks, limits and events as the model's."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from harness.dispatch import Dispatch
from harness.events import HeldLog, numbered
from harness.tools import model_name
from harness.turn import Message, ModelReply, ToolAsk, ToolCall, ToolResult, TurnContext, Usage
from workflows.calling import ModelRequest, Outcome, ToolRequest
from workflows.catalog import ToolSpec


class WorkflowCaller:
    """Each step's events are held back, so that their order does not tell who was faster."""

    def __init__(
        self, dispatch: Dispatch, context: TurnContext, name: str, logs: Mapping[str, HeldLog]
    ) -> None:
        self._dispatch, self._context, self._name, self._logs = dispatch, context, name, logs
        self._names: Counter[str] = Counter()
        self._made: dict[str, tuple[ToolCall, ToolResult]] = {}

    async def tool(self, request: ToolRequest) -> Outcome:
        server, _, tool = request.tool.partition("/")
        words = [self._name, request.node, *([request.place] if request.place else [])]
        words += [str(request.attempt)] if request.attempt > 1 else []
        wanted = ToolCall(self._unique("_".join(words)), server, tool, request.arguments)
        self._made[wanted.call_id] = wanted, _cut_off(wanted)
        [result] = await self._dispatch.run(replace(self._context, log=self._logs[request.node]), [wanted])
        self._made[wanted.call_id] = wanted, result
        return Outcome(result.value, result.content if result.is_error else None, result.uncertain)

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

    def _unique(self, name: str) -> str:
        """A step may run again, in another workflow of the turn."""
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_r{self._names[name]}"

    async def model(self, request: ModelRequest) -> Outcome:
        return Outcome(None, "a workflow in a turn asks no model")

    def repeatable(self, tool: str) -> bool:
        return self._dispatch.may_repeat(self._context, tool)


def _cut_off(call: ToolCall) -> ToolResult:
    """What stands there for a call whose end its workflow did not wait for."""
    return ToolResult(call.call_id, call.server, call.tool, "The call was cut off.", True, uncertain=True)


def _model_name(call: ToolCall) -> str:
    return model_name(ToolSpec(call.server, call.tool))
