"""The turn: route, hooks, model calls, tool calls, reply. A request id once; a session's turns one by one."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from harness.dispatch import Dispatch
from harness.events import EventLog, HeldLog, TurnLog
from harness.hooks import Denied, Hooks
from harness.memory import Effect, Memory
from harness.model import Model, ModelError
from harness.points import configured
from harness.router import Command, RunWorkflow, route
from harness.settings import Policy
from harness.tools import Toolbox, definitions
from harness.turn import Message, ModelReply, ModelRequest, Reply, ToolCall, TurnContext, TurnRequest
from workflows.calling import ModelRequest as WorkflowAsk
from workflows.calling import Outcome, ToolRequest
from workflows.compiled import compiled
from workflows.engine import run
from workflows.graph import Workflow
from workflows.shipped import Configured

PROMPT = """You are a careful assistant. Use the tools when they can answer better than you.
The time is {now} UTC."""


class Answer(NamedTuple):
    """What a turn says, and what the conversation keeps of it."""

    text: str
    messages: tuple[Message, ...]
    finish_reason: str = "stop"
    note: str | None = None
    """To be remembered for the rest of the session."""


class Agent:
    def __init__(
        self,
        *,
        memory: Memory,
        events: EventLog,
        model: Model,
        toolbox: Toolbox,
        hooks: Hooks,
        policy: Policy,
        workflows: tuple[Workflow, ...],
        points: Mapping[str, tuple[Configured, ...]],
    ) -> None:
        self._memory, self._events = memory, events
        self._model, self._toolbox = model, toolbox
        self._hooks, self._policy = hooks, policy
        self._workflows, self._points = workflows, points
        self._dispatch = Dispatch(toolbox, hooks, policy)
        self._running: dict[str, asyncio.Task[Reply]] = {}
        self._sessions = SessionLocks()

    async def handle(self, request: TurnRequest) -> Reply:
        """The one answer to this id: stored, under way, or made now. A caller who leaves stops nothing."""
        known = self._memory.reply(request.request_id)
        if known is not None:
            return known
        task = self._running.get(request.request_id)
        if task is None:
            task = asyncio.create_task(self._in_session(request))
            self._running[request.request_id] = task
            task.add_done_callback(lambda _: self._running.pop(request.request_id))
        return await asyncio.shield(task)

    async def forget(self, session: str) -> bool:
        async with self._sessions.holding(session):
            return self._memory.delete(session)

    async def _in_session(self, request: TurnRequest) -> Reply:
        async with self._sessions.holding(request.session):
            return await self._turn(request)

    async def _turn(self, request: TurnRequest) -> Reply:
        """Facts are on disk before the effect, the effect before the reply leaves."""
        log = TurnLog(self._events, request.session, request.request_id)
        log.emit("turn_started", path=request.path, body=request.body, clock=request.clock)
        started = time.monotonic()
        context = TurnContext(
            request_id=request.request_id,
            session=request.session,
            clock=request.clock,
            log=log,
            settings=self._memory.settings(request.session),
            notes=self._memory.notes(request.session),
            spent_tokens=self._memory.tokens(request.session),
        )
        outcome, timed_out = await self._within_time(context, request)
        reply = outcome if isinstance(outcome, Reply) else self._completion(context, outcome)
        ms = round((time.monotonic() - started) * 1000, 3)
        log.emit("turn_ended", status=reply.status, reply=reply.body, ms=ms, timed_out=timed_out)
        log.sync()
        effect = Effect(request.request_id, request.session, request.clock, reply, context.usage.total)
        if isinstance(outcome, Answer):
            effect = replace(effect, messages=outcome.messages, settings=context.settings, note=outcome.note)
        self._memory.commit(effect)
        return reply

    async def _within_time(self, context: TurnContext, request: TurnRequest) -> tuple[Answer | Reply, bool]:
        """The answer, or the error reply that says why there is none, and whether time ran out."""
        limit = self._policy.limits.turn_seconds
        task = asyncio.create_task(self._answer(context, request))
        done, _ = await asyncio.wait({task}, timeout=limit)
        if not done:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # it ended by itself just now: too late, and nobody else will ask
            return error_reply(504, "timeout", f"no answer within {limit:g} s"), True
        error = task.exception()
        if error is None:
            return task.result(), False
        if isinstance(error, Denied):
            return error_reply(403, "denied", error.reason, error.hook), False
        where, status = ("model", 502) if isinstance(error, ModelError) else ("turn", 500)
        trace = "".join(traceback.format_exception(error))
        context.log.emit("error", where=where, type=type(error).__name__, message=str(error), traceback=trace)
        return error_reply(status, f"{where}_failed", f"{type(error).__name__}: {error}"), False

    async def _answer(self, context: TurnContext, request: TurnRequest) -> Answer:
        request = self._hooks.before_turn.apply(context, request)
        context.catalog = await self._toolbox.discover(context)
        chosen = route(context, request, self._workflows)
        answer: Answer | None = None
        if isinstance(chosen, Command):
            answer = Answer(chosen.text, (), note=chosen.note)
        elif isinstance(chosen, RunWorkflow):
            answer = await self._run_workflow(context, request, chosen)
        if answer is None:
            answer = await self._converse(context, request)
        text = self._hooks.after_turn.apply(context, answer.text)
        return answer._replace(text=text)

    async def _run_workflow(
        self, context: TurnContext, request: TurnRequest, chosen: RunWorkflow
    ) -> Answer | None:
        """The workflow's text; None when one of its tools failed, and then the model is asked."""
        ready = compiled(configured(context, chosen.workflow, self._points))
        logs = {step.id: HeldLog() for step in ready.steps}
        caller = WorkflowCaller(self._dispatch, context, chosen.workflow.name, logs)
        try:
            result = await run(ready, chosen.inputs, caller, limit=self._policy.limits.parallel_tools)
        finally:
            for held in logs.values():
                held.release(context.log)
        if result.text is None:
            return None
        return Answer(result.text, (*request.messages, {"role": "assistant", "content": result.text}))

    async def _converse(self, context: TurnContext, request: TurnRequest) -> Answer:
        """Ask the model; make the tool calls that it asks for; tell it; until it answers."""
        known = self._memory.history(request.session, self._policy.limits.history_turns)
        new = list(new_messages(known, request.messages))
        tools = definitions(context.catalog)
        for index in range(self._policy.limits.rounds):
            messages = (system_message(context), *known, *new)
            reply = await self._ask_model(context, index, ModelRequest(messages, tools))
            new.append(reply.message)
            if not reply.asks:
                return Answer(reply.content or "", tuple(new), reply.finish_reason)
            results = await self._dispatch.answer(context, reply.asks)
            new.extend(result.message for result in results)
        text = f"I could not finish within {self._policy.limits.rounds} steps."
        return Answer(text, (*new, {"role": "assistant", "content": text}), "length")

    async def _ask_model(self, context: TurnContext, index: int, request: ModelRequest) -> ModelReply:
        request = self._hooks.before_model.apply(context, request)
        names = [tool["function"]["name"] for tool in request.tools]
        context.log.emit(
            "model_call", index=index, model=self._model.name, messages=list(request.messages), tools=names
        )
        started = time.monotonic()
        reply = await self._model.complete(request, context.request_id)
        context.usage.add(reply.usage)
        context.log.emit(
            "model_reply",
            index=index,
            message=reply.message,
            finish_reason=reply.finish_reason,
            usage=usage_table(reply.usage.prompt_tokens, reply.usage.completion_tokens),
            ms=round((time.monotonic() - started) * 1000, 3),
        )
        return self._hooks.after_model.apply(context, reply)

    def _completion(self, context: TurnContext, answer: Answer) -> Reply:
        message = {"role": "assistant", "content": answer.text}
        return Reply(
            200,
            {
                "id": f"chatcmpl-{context.request_id}",
                "object": "chat.completion",
                "created": int(context.clock),
                "model": self._model.name,
                "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
                "usage": usage_table(context.usage.prompt_tokens, context.usage.completion_tokens),
            },
        )


class WorkflowCaller:
    """A workflow's calls, through the same hooks, limits and events as the model's; each step's events are held back,
    so that their order does not tell who was faster."""

    def __init__(
        self, dispatch: Dispatch, context: TurnContext, name: str, logs: Mapping[str, HeldLog]
    ) -> None:
        self._dispatch, self._context, self._name, self._logs = dispatch, context, name, logs

    async def tool(self, request: ToolRequest) -> Outcome:
        server, _, tool = request.tool.partition("/")
        words = [self._name, request.node, *([request.place] if request.place else [])]
        words += [str(request.attempt)] if request.attempt > 1 else []
        wanted = ToolCall("_".join(words), server, tool, request.arguments)
        [result] = await self._dispatch.run(replace(self._context, log=self._logs[request.node]), [wanted])
        return Outcome(result.value, result.content if result.is_error else None)

    async def model(self, request: WorkflowAsk) -> Outcome:
        return Outcome(None, "shipped workflows ask no model")

    def repeatable(self, tool: str) -> bool:
        return False


class SessionLocks:
    """A lock a session, first come first served; gone when nobody holds or wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def holding(self, session: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(session, (asyncio.Lock(), 0))
        self._locks[session] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._locks[session][1] - 1
            if users:
                self._locks[session] = (lock, users)
            else:
                del self._locks[session]


def system_message(context: TurnContext) -> Message:
    now = datetime.fromtimestamp(context.clock, UTC).strftime("%Y-%m-%d %H:%M")
    return {"role": "system", "content": PROMPT.format(now=now)}


def new_messages(known: list[Message], sent: tuple[Message, ...]) -> tuple[Message, ...]:
    """What of the request is new. Many clients send the whole conversation, or its system message, each time:
    once there is a history, only what follows the last assistant message counts, and no instruction twice."""
    last = max((i for i, message in enumerate(sent) if message["role"] == "assistant"), default=-1)
    tail = sent[last + 1 :] if known else sent
    instructions = [message for message in known if message["role"] in ("system", "developer")]
    return tuple(message for message in tail if message not in instructions)


def usage_table(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def error_reply(status: int, kind: str, message: str, code: str | None = None) -> Reply:
    return Reply(status, {"error": {"message": message, "type": kind, "code": code}})
