"""Wrappers around a Caller. Each refines one thing, and they can be put around one another: arguments are checked,
calls are counted, pure calls are made once, answers come from a recording."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jsonschema.protocols import Validator

from workflows.calling import Caller, ModelRequest, Outcome, ToolRequest
from workflows.catalog import Catalog
from workflows.compiled import complaint
from workflows.schemas import UNREADABLE, validator


class Spent(Exception):
    """The calls that a run may make are used up."""


def call_key(tool: str, arguments: Mapping[str, object]) -> str:
    """The same for equal arguments, however they were written."""
    return hashlib.sha256(json.dumps([tool, arguments], sort_keys=True).encode()).hexdigest()


class Wrapper:
    """Hands everything on."""

    def __init__(self, inner: Caller) -> None:
        self._inner = inner

    async def tool(self, request: ToolRequest) -> Outcome:
        return await self._inner.tool(request)

    async def model(self, request: ModelRequest) -> Outcome:
        return await self._inner.model(request)

    def repeatable(self, tool: str) -> bool:
        return self._inner.repeatable(tool)


class Checked(Wrapper):
    """Refuses arguments that the tool's schema refuses, and tools that the catalog does not have, without calling."""

    def __init__(self, inner: Caller, catalog: Catalog) -> None:
        super().__init__(inner)
        self._catalog = catalog
        self._validators: dict[str, Validator] = {}

    async def tool(self, request: ToolRequest) -> Outcome:
        spec = self._catalog.get(request.tool)
        if spec is None:
            return Outcome(None, f"there is no tool {request.tool}")
        ready = self._validators.get(request.tool)
        if ready is None:
            ready = self._validators[request.tool] = validator(spec.input_schema)
        try:
            wrong = complaint(ready, request.arguments)
        except UNREADABLE:
            wrong = None  # the tool's own schema is broken: let the tool judge
        return Outcome(None, f"arguments: {wrong}") if wrong else await super().tool(request)


class Counted(Wrapper):
    """Raises Spent instead of one call too many."""

    def __init__(self, inner: Caller, max_tool_calls: int | None = None) -> None:
        super().__init__(inner)
        self._limit = max_tool_calls
        self.tool_calls = 0

    async def tool(self, request: ToolRequest) -> Outcome:
        if self._limit is not None and self.tool_calls >= self._limit:
            raise Spent(f"{self._limit} tool calls are made, and no more are allowed")
        self.tool_calls += 1
        return await super().tool(request)


class Memo(Wrapper):
    """Calls that only read are made once for all runs that share it, also when two want the same at the same time. A
    call that may change something forgets what was read, unless `lasting` says that what is read lasts."""

    def __init__(self, inner: Caller, pure: Callable[[str], bool], *, lasting: bool = False) -> None:
        super().__init__(inner)
        self._pure, self._lasting = pure, lasting
        self._known: dict[str, asyncio.Future[Outcome]] = {}
        self.saved = 0

    async def tool(self, request: ToolRequest) -> Outcome:
        if not self._pure(request.tool):
            if not self._lasting:
                self._known.clear()
            outcome = await super().tool(request)
            if not self._lasting:
                self._known.clear()
            return outcome
        key = call_key(request.tool, request.arguments)
        known = self._known.get(key)
        if known is not None:
            self.saved += 1
            return await asyncio.shield(known)
        known = self._known[key] = asyncio.get_running_loop().create_future()
        try:
            outcome = await super().tool(request)
        except BaseException:
            self._forget(key, known)
            known.cancel()
            raise
        if outcome.error is not None:
            self._forget(key, known)
        known.set_result(outcome)
        return outcome

    def forget_running(self) -> None:
        """Calls that have not ended answer those who wait for them, and nobody later."""
        self._known = {key: known for key, known in self._known.items() if known.done()}

    def _forget(self, key: str, known: asyncio.Future[Outcome]) -> None:
        if self._known.get(key) is known:
            del self._known[key]


class Carried(Wrapper):
    """What an earlier, unfinished run did is not done again: each call that got done there stands in for one equal call
    here."""

    def __init__(self, inner: Caller, finished: Iterable[tuple[ToolRequest, Outcome]]) -> None:
        super().__init__(inner)
        self._finished: dict[str, list[Outcome]] = {}
        for request, outcome in finished:
            self._finished.setdefault(call_key(request.tool, request.arguments), []).append(outcome)

    async def tool(self, request: ToolRequest) -> Outcome:
        waiting = self._finished.get(call_key(request.tool, request.arguments))
        return waiting.pop(0) if waiting else await super().tool(request)


class Recorder(Wrapper):
    """Keeps every tool call with its outcome, in the order in which they ended."""

    def __init__(self, inner: Caller) -> None:
        super().__init__(inner)
        self.calls: list[tuple[ToolRequest, Outcome]] = []

    async def tool(self, request: ToolRequest) -> Outcome:
        outcome = await super().tool(request)
        self.calls.append((request, outcome))
        return outcome


class Recorded:
    """Answers from a recording (`cassette_lines` of a Recorder) and calls nothing: a dry run. Equal calls are answered
    in the order of the recording, the last one for ever after."""

    def __init__(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._answers: dict[str, list[Outcome]] = {}
        for line in lines:
            outcome = Outcome(line.get("value"), line.get("error"))
            self._answers.setdefault(call_key(line["tool"], line["arguments"]), []).append(outcome)

    async def tool(self, request: ToolRequest) -> Outcome:
        answers = self._answers.get(call_key(request.tool, request.arguments))
        if not answers:
            return Outcome(None, "the recording has no such call")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def model(self, request: ModelRequest) -> Outcome:
        return Outcome(None, "a dry run asks no model")

    def repeatable(self, tool: str) -> bool:
        return True


def cassette_lines(calls: Iterable[tuple[ToolRequest, Outcome]]) -> list[dict[str, object]]:
    return [
        {"tool": request.tool, "arguments": request.arguments, "value": outcome.value, "error": outcome.error}
        for request, outcome in calls
    ]
