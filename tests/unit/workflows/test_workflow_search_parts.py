"""Around the search: edits from a model, tokens that a model may use, reads that runs share, what there is to begin with."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted
from shop import RIGHT, TOOLS

from workflows.calling import Outcome, ToolRequest
from workflows.check import check
from workflows.edits import Bind, RunAfter, Show
from workflows.graph import Literal, OutputNode, Ref, ToolNode, Workflow
from workflows.model import ModelFailed
from workflows.planner import PlannerFailed
from workflows.reshaping import Add
from workflows.searching.metered import LEAST, Metered
from workflows.searching.model_edits import FORM, SCHEMA, Edited, ask_for_edits, read_edits
from workflows.searching.remedies import mendings, remedies
from workflows.searching.sketches import sketches
from workflows.searching.slimming import smaller, what_is_left
from workflows.searching.untouched import Untouched

PRICE = ToolNode(id="s1", tool="shop/price", arguments={"name": Literal("tea")})


def flow(*nodes: Any, text: str = "", **values: Any) -> Workflow:
    return Workflow("w", "", (*nodes, OutputNode(id="answer", text=text, values=values)))


def asked(
    answer: str, usage: dict[str, int] | None = None, **more: Any
) -> tuple[Metered, list[dict[str, Any]], Any]:
    seen: list[dict[str, Any]] = []

    def reply(request: httpx2.Request) -> httpx2.Response:
        seen.append(json.loads(request.content))
        choice = {"message": {"content": answer}, "finish_reason": "stop"}
        return httpx2.Response(200, json={"choices": [choice], **({"usage": usage} if usage else {})})

    async def ask() -> tuple[Metered, Any]:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(reply)) as http:
            model = Metered(http, "http://x/v1", "m", **more)
            try:
                return model, await ask_for_edits(
                    model, TOOLS, "the price of oil", flow(PRICE), ["s1: no tea"]
                )
            except PlannerFailed as error:
                return model, error

    model, found = asyncio.run(ask())
    return model, seen, found


def test_a_model_sees_plan_and_errors_and_its_edits_are_read() -> None:
    said = {"edits": [
        {"do": "set", "step": "s1", "name": "name", "value": "oil"},
        {"do": "call", "step": "s2", "value": "shop/total"},
        {"do": "set", "step": "s2", "name": "prices", "value": "{s1.price}"},
        {"do": "after", "step": "s2", "value": "s1"},
        {"do": "answer", "value": "It costs {s2.total}"},
        {"do": "burn", "step": "s1"},
    ]}  # fmt: skip
    _, [request], found = asked(json.dumps(said))
    assert isinstance(found, Edited)
    assert found.edits[:4] == (
        Bind("s1", "arguments.name", Literal("oil")),
        Add(ToolNode(id="s2", tool="shop/total")),
        Bind("s2", "arguments.prices", Ref("s1.price")),
        RunAfter("s2", "s1"),
    )
    assert found.workflow.node("answer") == OutputNode(
        id="answer", text="It costs {v0}", values={"v0": Ref("s2.total")}
    )
    assert request["response_format"]["json_schema"]["schema"] == SCHEMA
    [system, user] = request["messages"]
    assert system["content"] == FORM
    for part in (
        "shop/price(name: string)",
        'Plan: {"steps": [{"id": "s1"',
        "- s1: no tea",
        "the price of oil",
    ):
        assert part in user["content"]


@pytest.mark.parametrize(
    "answer", ["prose", '{"edits": 3}', '{"edits": [{"do": "drop", "step": "s9", "name": "x"}]}']
)
def test_edits_that_are_none_are_no_proposal(answer: str) -> None:
    assert isinstance(asked(answer)[2], PlannerFailed)


said = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["s1", "answer", "call", "{s1", "{x.y}", "shop/price"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional={
    "do": st.sampled_from(["call", "set", "drop", "remove", "after", "answer", "x"]) | said,
    "step": said, "name": said, "value": said}) | said, max_size=8))  # fmt: skip
def test_whatever_a_model_says_gives_a_workflow(edits: list[Any]) -> None:
    found = read_edits(edits, RIGHT, TOOLS)
    assert isinstance(check(found.workflow, TOOLS), tuple)
    assert bool(found.edits) or found.workflow == RIGHT


def test_tokens_are_a_hard_limit_and_counted_also_where_nobody_tells_them() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 9}
    model, seen, _ = asked('{"edits": []}', usage, most_tokens=100)
    assert (seen, model.tokens) == ([], 0)
    model, seen, _ = asked('{"edits": []}', usage, most_tokens=5000)
    assert (len(seen), model.tokens, seen[0]["max_tokens"]) == (1, 109, 512)
    silent, seen, _ = asked('{"edits": []}', most_tokens=5000)
    prompt = sum(len(one["content"].encode()) for one in seen[0]["messages"])
    assert silent.tokens == prompt // 2 + len('{"edits": []}') // 2
    _, [cut], _ = asked('{"edits": []}', most_tokens=prompt // 2 + LEAST + 1)
    assert cut["max_tokens"] == LEAST + 1


def test_a_model_that_fails_says_so() -> None:
    async def ask() -> None:
        refuse = httpx2.MockTransport(lambda request: httpx2.Response(500))
        async with httpx2.AsyncClient(transport=refuse) as http:
            model = Metered(http, "http://x/v1", "m")
            with pytest.raises(ModelFailed):
                await model.complete([{"role": "user", "content": "x"}])

    asyncio.run(ask())


def call(caller: Untouched, *names: str) -> list[Outcome]:
    async def one_after_the_other() -> list[Outcome]:
        return [await caller.tool(ToolRequest("", "", 1, name, {})) for name in names]

    return asyncio.run(one_after_the_other())


def test_reads_are_shared_until_something_is_changed() -> None:
    inner = Scripted(lambda request: Outcome(len(inner.asked)))
    caller = Untouched(inner, {"read"}.__contains__)
    assert [one.value for one in call(caller, "read", "read", "write", "read", "read")] == [1, 1, 2, 3, 4]
    assert caller.touched
    caller.touched = False  # put back
    assert [one.value for one in call(caller, "read")] == [1]
    assert caller.saved == 2


def test_a_read_beside_a_write_is_not_shared() -> None:
    """It may have seen what the write did."""
    inner = Scripted(lambda request: Outcome(len(inner.asked)), turns=lambda request: 5)
    caller = Untouched(inner, {"read"}.__contains__)

    async def at_once() -> None:
        await asyncio.gather(*(caller.tool(ToolRequest("", "", 1, name, {})) for name in ("read", "write")))
        caller.touched = False
        await caller.tool(ToolRequest("", "", 1, "read", {}))

    asyncio.run(at_once())
    assert [request.tool for request in inner.asked] == ["read", "write", "read"]


def test_what_there_is_to_begin_with_calls_what_the_request_is_about() -> None:
    found = sketches("What is the price of oil?", TOOLS, 2)
    assert [sorted(one.tools) for one in found[:1]] == [["shop/price"]]
    assert found[-1].tools == frozenset()
    assert check(found[-1], TOOLS) == ()


def offered(workflow: Workflow, *failures: tuple[str, str], literals: Sequence[object] = ()) -> list[Any]:
    return [child.edits for child in remedies(workflow, TOOLS, literals, failures)]


def test_what_failed_is_answered_by_kind() -> None:
    waits = offered(flow(PRICE, text="{a}", a=Ref("s1")), ("s1", "no answer within 5 s"))[0][0]
    assert waits.policy.retries == 2
    assert Bind("s1", "arguments.name", Literal("oil")) in [
        edit
        for edits in offered(flow(PRICE, text="{a}", a=Ref("s1")), ("s1", "no tea: there is 'oil'"))
        for edit in edits
    ]
    order = ToolNode(id="order", tool="shop/order", arguments={"name": Literal("x")})
    ways = offered(flow(order, PRICE, text="{a}", a=Ref("s1")), ("s1", "not found"))
    assert ways[0] == (RunAfter("s1", "order"),)
    told = offered(flow(order, PRICE, text="{a}", a=Ref("s1")))
    assert told[0] == (Show("answer", Ref("order")), RunAfter("s1", "order"))


def test_nothing_that_is_offered_is_wrong() -> None:
    for failures in ([], [("find", "no 'query'")], [("price", "the result has no 'x'"), ("order", "busy")]):
        for child in remedies(RIGHT, TOOLS, ["tea"], failures):
            assert check(child.workflow, TOOLS) == ()
    for child in smaller(RIGHT, TOOLS):
        assert check(child.workflow, TOOLS) == ()


def test_other_mendings_than_the_first_are_there_and_what_is_right_of_a_wrong_one_is_left() -> None:
    wrong = flow(
        ToolNode(id="s1", tool="shop/prize", arguments={"name": Literal("tea")}),
        text="{a}",
        a=Ref("s1.price"),
    )
    found = [one.workflow for one in mendings(wrong, TOOLS, "the price of tea")]
    assert len({repr(one) for one in found}) > 1
    assert what_is_left(wrong, TOOLS).tools == frozenset()
    assert check(what_is_left(wrong, TOOLS), TOOLS) == ()
    assert what_is_left(RIGHT, TOOLS) == RIGHT
