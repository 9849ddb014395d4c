"""What a workflow of a turn did, for those who come after it."""

import asyncio
from collections import defaultdict
from typing import Any, cast

from harness.calls import WorkflowCaller
from harness.dispatch import Dispatch
from harness.events import HeldLog, numbered, release_all
from harness.hooks import Hooks
from harness.mcp import ServerFailed
from harness.settings import Policy, ToolPolicy
from harness.tools import Toolbox
from harness.turn import ToolCall, TurnContext
from workflows.calling import ToolRequest
from workflows.catalog import ToolSpec, catalog
from workflows.results import ToolAnswer

TOOLS = catalog(
    [
        *(ToolSpec("shop", name) for name in ("send", "lost", "refuse", "hang", "known")),
        ToolSpec("shop", "look", idempotent=True),
    ]
)


class Shop:
    """Answers, fails in the tool's own words, loses the answer, or never answers."""

    async def call(self, call: ToolCall, request_id: str) -> ToolAnswer:
        if call.tool == "lost":
            raise ServerFailed("status 500")
        if call.tool == "hang":
            await asyncio.sleep(60)
        return ToolAnswer(call.tool, call.tool == "refuse", None)


class Log:
    def __init__(self) -> None:
        self.ids: list[str] = []

    def emit(self, kind: str, **fields: object) -> None:
        raise AssertionError

    def emit_at(self, ts: float, kind: str, fields: dict[str, object]) -> None:
        self.ids += [str(fields["call_id"])] if kind == "tool_call" else []


def request(node: str, tool: str, **more: Any) -> ToolRequest:
    return ToolRequest(node, "", more.get("attempt", 1), f"shop/{tool}", {})


def after(*requests: ToolRequest, seconds: float = 5.0) -> tuple[WorkflowCaller, Log]:
    """All at once, until time is up."""
    log, logs = Log(), defaultdict[str, HeldLog](HeldLog)
    context = TurnContext("r", "s", 0.0, log, catalog=TOOLS)
    policy = Policy(tools=ToolPolicy(idempotent=("shop/known",)))
    caller = WorkflowCaller(Dispatch(cast(Toolbox, Shop()), Hooks(), policy), context, "plan", logs)

    async def run() -> None:
        tasks = [asyncio.create_task(caller.tool(one)) for one in requests]
        await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(run())
    release_all(logs, log)
    return caller, log


def test_what_must_not_be_done_twice_is_what_was_done_or_may_have_been() -> None:
    names = ("send", "lost", "refuse", "hang", "known", "look")
    caller, _ = after(*(request(f"s{n}", name) for n, name in enumerate(names)), seconds=0.1)
    assert caller.done() == {"shop/send", "shop/lost", "shop/hang"}
    assert after(request("s1", "look"))[0].done() == frozenset()


def test_calls_are_told_in_the_order_of_their_steps_each_with_its_result() -> None:
    caller, log = after(
        request("s10", "send"), request("s2", "look"), request("s2", "look"), request("s2", "look", attempt=2)
    )
    asked, *results = caller.messages()
    ids = ["plan_s2", "plan_s2_2", "plan_s2_r2", "plan_s10"]
    assert [call["id"] for call in asked["tool_calls"]] == ids
    assert [result["tool_call_id"] for result in results] == ids
    assert [result["content"] for result in results] == ["look", "look", "look", "send"]
    assert asked["tool_calls"][0]["function"] == {"name": "shop__look", "arguments": "{}"}
    assert sorted(log.ids, key=numbered) == ids
    assert log.ids[-1] == "plan_s10"


def test_who_made_no_call_says_nothing() -> None:
    assert after(request("s1", "send"))[0].messages() != ()
    log, logs = Log(), defaultdict[str, HeldLog](HeldLog)
    dispatch = Dispatch(cast(Toolbox, Shop()), Hooks(), Policy())
    assert WorkflowCaller(dispatch, TurnContext("r", "s", 0.0, log), "plan", logs).messages() == ()


def test_an_answer_that_never_came_is_uncertain() -> None:
    async def ask(tool: str) -> bool:
        log, logs = Log(), defaultdict[str, HeldLog](HeldLog)
        dispatch = Dispatch(cast(Toolbox, Shop()), Hooks(), Policy())
        caller = WorkflowCaller(dispatch, TurnContext("r", "s", 0.0, log, catalog=TOOLS), "w", logs)
        return (await caller.tool(request("s1", tool))).uncertain

    assert [asyncio.run(ask(tool)) for tool in ("send", "refuse", "lost")] == [False, False, True]
