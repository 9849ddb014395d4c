"""What a workflow of a turn did, for those who come after it."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from harness.calls import Followed, WorkflowCaller
from harness.dispatch import Dispatch
from harness.events import numbered
from harness.facts import StepFact
from harness.hooks import Denied, Hooks
from harness.mcp import ServerFailed
from harness.model import ModelError
from harness.settings import Policy, ToolPolicy
from harness.tools import Toolbox
from harness.turn import ModelReply, ToolCall, TurnContext, Usage
from harness.turn import ModelRequest as Question
from workflows.calling import ModelRequest, Outcome, ToolRequest
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


async def nobody(context: TurnContext, question: Question) -> ModelReply:
    raise AssertionError


def calling(policy: Policy | None = None, ask: Any = nobody) -> tuple[WorkflowCaller, Log]:
    log = Log()
    context = TurnContext("r", "s", 0.0, log, catalog=TOOLS)
    dispatch = Dispatch(cast(Toolbox, Shop()), Hooks(), policy or Policy())
    return WorkflowCaller(dispatch, ask, context, "plan"), log


def request(node: str, tool: str, **more: Any) -> ToolRequest:
    return ToolRequest(node, "", more.get("attempt", 1), f"shop/{tool}", {})


def after(*requests: ToolRequest, seconds: float = 5.0) -> tuple[WorkflowCaller, Log]:
    """All at once, until time is up."""
    caller, log = calling(Policy(tools=ToolPolicy(idempotent=("shop/known",))))

    async def run() -> None:
        tasks = [asyncio.create_task(caller.tool(one)) for one in requests]
        await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(run())
    caller.release()
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
    assert calling()[0].messages() == ()


def test_an_answer_that_never_came_is_uncertain() -> None:
    async def ask(tool: str) -> bool:
        return (await calling()[0].tool(request("s1", tool))).uncertain

    assert [asyncio.run(ask(tool)) for tool in ("send", "refuse", "lost")] == [False, False, True]


# --- model steps

NUMBER: dict[str, object] = {"type": "integer"}


def question(answer: dict[str, object] | None = None) -> ModelRequest:
    return ModelRequest("s1", "", 1, "How many?", answer, "large", 9)


def answered(
    said: str | Exception | None, answer: dict[str, object] | None = None, finish: str = "stop"
) -> tuple[Outcome, list[Question]]:
    asked: list[Question] = []

    async def ask(context: TurnContext, question: Question) -> ModelReply:
        asked.append(question)
        if isinstance(said, Exception):
            raise said
        return ModelReply(said, (), finish, Usage(3, 1))

    return asyncio.run(calling(ask=ask)[0].model(question(answer))), asked


def test_a_model_step_asks_its_prompt_alone_of_its_own_model() -> None:
    outcome, [asked] = answered("three")
    assert outcome == Outcome("three")
    assert (asked.messages, asked.tools) == (({"role": "user", "content": "How many?"},), ())
    assert (asked.model, asked.form) == ("large", (None, 9, None))
    outcome, [asked] = answered("3", NUMBER)
    assert outcome == Outcome(3)
    assert asked.form is not None
    assert asked.form.schema == NUMBER


@pytest.mark.parametrize(
    ("said", "finish", "error"),
    [
        ("three", "stop", "the model's answer is no JSON"),
        ("3", "length", "the model's answer was cut off at 9 tokens"),
        (None, "stop", "the model answered without a text"),
        (ModelError("status 500: no"), "stop", "status 500: no"),
        (Denied("spend", "all is spent"), "stop", "Refused by spend: all is spent."),
    ],
)
def test_what_is_no_answer_of_a_model_fails_the_step(
    said: str | Exception | None, finish: str, error: str
) -> None:
    outcome, _ = answered(said, NUMBER, finish)
    assert (outcome.error, outcome.uncertain) == (error, False)


# --- how far it got


class Ends:
    """Each call as it is told: an outcome, or never."""

    def __init__(self, end: Callable[[ToolRequest], Outcome | None]) -> None:
        self._end = end

    async def tool(self, request: ToolRequest) -> Outcome:
        outcome = self._end(request)
        return outcome if outcome is not None else await asyncio.Future()

    async def model(self, request: ModelRequest) -> Outcome:
        return Outcome("three")

    def repeatable(self, tool: str) -> bool:
        return False


def at(node: str, tool: str, place: str = "", attempt: int = 1) -> ToolRequest:
    return ToolRequest(node, place, attempt, tool, {})


def test_how_far_the_steps_of_a_run_got_is_known_at_any_time() -> None:
    ends = {"ok": Outcome("x"), "no": Outcome(None, "no"), "never": None}
    followed = Followed(Ends(lambda request: ends[request.tool]))
    calls = [
        at("s10", "ok"),
        at("s2", "no"),
        at("again", "no"),
        at("again", "ok", attempt=2),
        at("back", "no"),
        at("back", "ok", "policy.recovery"),
        at("each", "ok", "each.0"),
        at("each", "never", "each.1"),
        at("each", "ok", "each.2"),
        at("some", "no", "each.0"),
        at("some", "ok", "each.1"),
    ]

    async def run() -> tuple[StepFact, ...]:
        tasks = []
        for call in calls:
            tasks.append(asyncio.create_task(followed.tool(call)))
            await asyncio.sleep(0)
        await followed.model(question())
        steps = followed.steps()
        for task in tasks:
            task.cancel()
        return steps

    assert asyncio.run(run()) == (
        StepFact("again", "done", 2, None),
        StepFact("back", "done", 2, None),
        StepFact("each", "cut_off", 3, None),
        StepFact("s1", "done", 1, None),
        StepFact("s2", "failed", 1, "no"),
        StepFact("s10", "done", 1, None),
        StepFact("some", "failed", 2, "no"),
    )
