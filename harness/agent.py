"""The turn: route, hooks, plan, model calls, tool calls, reply. A request id once; a session's turns one by one."""

import asyncio
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from harness.calls import WorkflowCaller
from harness.dispatch import Dispatch
from harness.events import EventLog, TurnLog
from harness.hooks import Denied, Hooks
from harness.locks import SessionLocks
from harness.memory import Effect, Memory
from harness.model import Model, ModelError
from harness.points import configured
from harness.router import Command, RunWorkflow, route
from harness.settings import Policy
from harness.shipped import run_shipped
from harness.tools import Toolbox, definitions
from harness.turn import Message, ModelReply, ModelRequest, Reply, TurnContext, TurnRequest
from workflows.catalog import catalog
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
        made: tuple[Message, ...] = ()
        if isinstance(chosen, Command):
            answer = Answer(chosen.text, (), note=chosen.note)
        elif isinstance(chosen, RunWorkflow):
            answer, made = await self._run_workflow(context, request, chosen)
        if answer is None and not made and self._plans(context):
            answer, made = await self._plan(context, request)
        if answer is None:
            answer = await self._converse(context, request, made)
        text = self._hooks.after_turn.apply(context, answer.text)
        return answer._replace(text=text)

    async def _run_workflow(
        self, context: TurnContext, request: TurnRequest, chosen: RunWorkflow
    ) -> tuple[Answer | None, tuple[Message, ...]]:
        """The workflow's answer; without one the calls that the conversation has to hear of, where something is done
        already."""
        workflow = configured(context, chosen.workflow, self._points)
        caller = WorkflowCaller(self._dispatch, self._ask_model, context, workflow.name)
        parallel = self._policy.limits.parallel_tools
        text = await run_shipped(context, workflow, chosen.inputs, caller, parallel)
        if text is not None:
            return self._workflow_answer(request, text), ()
        return None, caller.messages() if close(context, caller) else ()

    def _plans(self, context: TurnContext) -> bool:
        """Whether the session, or else the operator, wants it, and there is something to plan with."""
        unset = "on" if self._policy.planning.on else "off"
        return context.settings.get("planning", unset) == "on" and len(context.catalog) > 0

    async def _plan(
        self, context: TurnContext, request: TurnRequest
    ) -> tuple[Answer | None, tuple[Message, ...]]:
        """The answer of a workflow that was planned for this turn; else the calls that were made for one."""
        from harness.planning import planned  # costs a start, and most services never plan

        caller = WorkflowCaller(self._dispatch, self._ask_model, context, "plan")

        async def ask(question: ModelRequest) -> ModelReply:
            caller.release()
            return await self._ask_model(context, question)

        def tell(facts: dict[str, object]) -> None:
            caller.release()
            context.log.emit("workflow", **facts)

        known, new = self._heard(request)
        said = [str(message["content"]) for message in (*known, *new) if message["role"] == "user"]
        try:
            text = await planned(request.text, said[:-1], ask, context.catalog, caller, self._policy, tell)
        finally:
            caller.release()
        if text is not None:
            return self._workflow_answer(request, text), ()
        close(context, caller)
        return None, caller.messages()

    def _heard(self, request: TurnRequest) -> tuple[list[Message], tuple[Message, ...]]:
        """The session's history, and what of the request is new."""
        known = self._memory.history(request.session, self._policy.limits.history_turns)
        return known, new_messages(known, request.messages)

    def _workflow_answer(self, request: TurnRequest, text: str) -> Answer:
        _, new = self._heard(request)
        return Answer(text, (*new, {"role": "assistant", "content": text}))

    async def _converse(
        self, context: TurnContext, request: TurnRequest, made: tuple[Message, ...]
    ) -> Answer:
        """Ask the model; make the tool calls that it asks for; tell it; until it answers. `made`: calls that came before,
        and their results."""
        known, heard = self._heard(request)
        new = [*heard, *made]
        tools = definitions(context.catalog)
        for _ in range(self._policy.limits.rounds):
            messages = (system_message(context), *known, *new)
            reply = await self._ask_model(context, ModelRequest(messages, tools))
            new.append(reply.message)
            if not reply.asks:
                return Answer(reply.content or "", tuple(new), reply.finish_reason)
            results = await self._dispatch.answer(context, reply.asks)
            new.extend(result.message for result in results)
        text = f"I could not finish within {self._policy.limits.rounds} steps."
        return Answer(text, (*new, {"role": "assistant", "content": text}), "length")

    async def _ask_model(self, context: TurnContext, request: ModelRequest) -> ModelReply:
        request = self._hooks.before_model.apply(context, request)
        names = [tool["function"]["name"] for tool in request.tools]
        index, model = next(context.questions), request.model or self._model.name
        context.log.emit("model_call", index=index, model=model, messages=list(request.messages), tools=names)
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
