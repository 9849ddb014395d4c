"""Tool calls: hooks, limits, retries, several at once. Every result goes back under its own call's id."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from harness.hooks import Denied, Hooks
from harness.mcp import ServerFailed
from harness.settings import Policy
from harness.tools import Toolbox, by_model_name
from harness.turn import ToolAsk, ToolCall, ToolResult, TurnContext


class Dispatch:
    def __init__(self, toolbox: Toolbox, hooks: Hooks, policy: Policy) -> None:
        self._toolbox, self._hooks, self._policy = toolbox, hooks, policy

    async def answer(self, context: TurnContext, asks: Sequence[ToolAsk]) -> list[ToolResult]:
        """What the model asked for, in the order in which it asked."""
        return await self.run(context, [_understand(context, ask) for ask in asks])

    async def run(self, context: TurnContext, wanted: Sequence[ToolCall | ToolResult]) -> list[ToolResult]:
        """Make the calls at once. What is already a result (a call that made no sense) is passed through."""
        results: dict[str, ToolResult] = {}
        admitted: list[ToolCall] = []
        for item in wanted:
            if isinstance(item, ToolResult):
                results[item.call_id] = item
                _record(context, item)
                continue
            allowed = self._admit(context, item)
            if isinstance(allowed, ToolResult):
                results[item.call_id] = allowed
            else:
                admitted.append(allowed)
        for result in await self._call_all(context, admitted):
            results[result.call_id] = self._release(context, result)
        return [results[item.call_id] for item in wanted]

    def _admit(self, context: TurnContext, call: ToolCall) -> ToolCall | ToolResult:
        """The call as the hooks let it through, or the refusal that stands in for its result."""
        try:
            return self._hooks.before_tool.apply(context, call, call.call_id)
        except Denied as denied:
            return ToolResult(
                call.call_id, call.server, call.tool, refusal(denied), is_error=True, attempts=0
            )

    def _release(self, context: TurnContext, result: ToolResult) -> ToolResult:
        """The result as the hooks let the model see it."""
        try:
            return self._hooks.after_tool.apply(context, result, result.call_id)
        except Denied as denied:
            return result._replace(content=refusal(denied), is_error=True, value=None)

    async def _call_all(self, context: TurnContext, calls: Sequence[ToolCall]) -> list[ToolResult]:
        """Facts are written in the order of asking, also those that are known when the turn is cut off."""
        for call in calls:
            context.log.emit(
                "tool_call",
                call_id=call.call_id,
                server=call.server,
                tool=call.tool,
                arguments=call.arguments,
            )
        slots = asyncio.Semaphore(self._policy.limits.parallel_tools)
        done: dict[str, ToolResult] = {}

        async def settle(call: ToolCall) -> None:
            async with slots:
                done[call.call_id] = await self._call(context, call)

        try:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(settle(call))
        finally:
            ordered = [done[call.call_id] for call in calls if call.call_id in done]
            for result in ordered:
                _record(context, result)
        return ordered

    async def _call(self, context: TurnContext, call: ToolCall) -> ToolResult:
        """One call; again if the way to an idempotent tool failed."""
        started = time.monotonic()
        limit = self._policy.tools.timeout(call.key)
        attempts = 1 + (self._policy.tools.retries if self.may_repeat(context, call.key) else 0)
        reason = ""
        for attempt in range(1, attempts + 1):
            try:
                async with asyncio.timeout(limit):
                    answer = await self._toolbox.call(call, context.request_id)
            except TimeoutError:
                reason = f"no answer within {limit:g} s"
            except ServerFailed as error:
                reason = str(error)
            else:
                return _result(call, answer.content, answer.is_error, started, attempt, answer.value)
        failed = _result(call, f"The tool failed: {reason}.", True, started, attempts)
        return failed._replace(uncertain=True)

    def may_repeat(self, context: TurnContext, tool: str) -> bool:
        """Calling it twice does no more than calling it once, as the operator or its server says."""
        spec = context.catalog.get(tool)
        return self._policy.tools.is_idempotent(tool) or (spec is not None and spec.idempotent)


def refusal(denied: Denied) -> str:
    """What the model is told instead of a result."""
    return f"Refused by {denied.hook}: {denied.reason}."


def _understand(context: TurnContext, ask: ToolAsk) -> ToolCall | ToolResult:
    """The call that the model means, or a result that tells it why there is none."""
    spec = by_model_name(context.catalog).get(ask.name)
    if spec is None:
        return _nonsense(ask, "", ask.name, f"There is no tool {ask.name!r}.")
    try:
        arguments = json.loads(ask.arguments)
    except ValueError as error:
        return _nonsense(ask, spec.server, spec.name, f"The arguments are not JSON: {error}.")
    if not isinstance(arguments, dict):
        return _nonsense(ask, spec.server, spec.name, "The arguments are not a JSON object.")
    return ToolCall(ask.call_id, spec.server, spec.name, arguments)


def _nonsense(ask: ToolAsk, server: str, tool: str, content: str) -> ToolResult:
    return ToolResult(ask.call_id, server, tool, content, is_error=True, attempts=0)


def _result(
    call: ToolCall, content: str, is_error: bool, started: float, attempts: int, value: Any = None
) -> ToolResult:
    ms = round((time.monotonic() - started) * 1000, 3)
    return ToolResult(call.call_id, call.server, call.tool, content, is_error, value, ms, attempts)


def _record(context: TurnContext, result: ToolResult) -> None:
    context.log.emit(
        "tool_result",
        call_id=result.call_id,
        server=result.server,
        tool=result.tool,
        content=result.content,
        is_error=result.is_error,
        ms=result.ms,
        attempts=result.attempts,
    )
