"""The turn: route, hooks, plan, model calls, tool calls, reply. A request id once; a session's turns one by one."""

import asyncio
import time
import traceback
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from harness.calls import WorkflowCaller
from harness.dispatch import Dispatch
from harness.events import EventLog, HeldLog, TurnLog, release_all
from harness.facts import workflow_facts
from harness.hooks import Denied, Hooks
from harness.locks import SessionLocks
from harness.memory import Effect, Memory
from harness.model import Model, ModelError
from harness.points import configured
from harness.router import Command, RunWorkflow, route
from harness.settings import Policy
from harness.tools import Toolbox, definitions
from harness.turn import Message, ModelReply, ModelRequest, Reply, TurnContext, TurnRequest
from workflows.catalog import catalog
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


class Before(NamedTuple):
    """What of a turn came before its conversation."""

    asked: int = 0
    """Questions to the model."""
    messages: tuple[Message, ...] = ()
    """Calls that were made, and their results."""


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
        before = Before()
        if isinstance(chosen, Command):
            answer = Answer(chosen.text, (), note=chosen.note)
        elif isinstance(chosen, RunWorkflow):
            answer, before = await self._run_workflow(context, request, chosen)
        if answer is None and not before.messages and self._plans(context):
            answer, before = await self._plan(context, request)
        if answer is None:
            answer = await self._converse(context, request, before)
        text = self._hooks.after_turn.apply(context, answer.text)
        return answer._replace(text=text)

    async def _run_workflow(
        self, context: TurnContext, request: TurnRequest, chosen: RunWorkflow
    ) -> tuple[Answer | None, Before]:
        """The workflow's text; None when one of its tools failed, and then the model is asked, which hears of it if
        something is done already."""
        workflow = configured(context, chosen.workflow, self._points)
        ready = compiled(workflow)
        logs = {step.id: HeldLog() for step in ready.steps}
        caller = WorkflowCaller(self._dispatch, context, workflow.name, logs)
        try:
            result = await run(ready, chosen.inputs, caller, limit=self._policy.limits.parallel_tools)
        finally:
            for held in logs.values():
                held.release(context.log)
        answered = result.text is not None
        facts = workflow_facts(workflow, "shipped", result, ran=True, answered=answered)
        context.log.emit("workflow", **facts)
        if result.text is not None:
            return workflow_answer(request, result.text), Before()
        return None, Before(0, caller.messages()) if close(context, caller) else Before()

    def _plans(self, context: TurnContext) -> bool:
        """Whether the session, or else the operator, wants it, and there is something to plan with."""
        unset = "on" if self._policy.planning.on else "off"
        return context.settings.get("planning", unset) == "on" and len(context.catalog) > 0

    async def _plan(self, context: TurnContext, request: TurnRequest) -> tuple[Answer | None, Before]:
        """The answer of a workflow that was planned for this turn; else what the conversation has to know of it."""
        from harness.planning import planned  # costs a start, and most services never plan

        logs: defaultdict[str, HeldLog] = defaultdict(HeldLog)
        caller = WorkflowCaller(self._dispatch, context, "plan", logs)

        async def ask(index: int, question: ModelRequest) -> ModelReply:
            release_all(logs, context.log)
            return await self._ask_model(context, index, question)

        try:
            found = await planned(request.text, ask, context.catalog, caller, self._policy)
        finally:
            release_all(logs, context.log)
        for facts in found.facts:
            context.log.emit("workflow", **facts)
        if found.text is not None:
            return workflow_answer(request, found.text), Before()
        close(context, caller)
        return None, Before(found.asked, caller.messages())

    async def _converse(self, context: TurnContext, request: TurnRequest, before: Before) -> Answer:
        """Ask the model; make the tool calls that it asks for; tell it; until it answers."""
        known = self._memory.history(request.session, self._policy.limits.history_turns)
        new = [*new_messages(known, request.messages), *before.messages]
        tools = definitions(context.catalog)
        for index in range(before.asked, before.asked + self._policy.limits.rounds):
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


def close(context: TurnContext, caller: WorkflowCaller) -> bool:
    """Take the tools away with which the workflows of this turn did, or may have done, what must not be done twice.
    Whether there are any."""
    done = caller.done()
    context.catalog = catalog(spec for spec in context.catalog if spec.key not in done)
    return bool(done)


def workflow_answer(request: TurnRequest, text: str) -> Answer:
    return Answer(text, (*request.messages, {"role": "assistant", "content": text}))


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
