"""The engine runs every ready step at once, its records do not tell who was faster, and each kind of step does what it
says."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted

from workflows.calling import Outcome, ToolRequest
from workflows.compiled import WorkflowError, compiled
from workflows.engine import run
from workflows.graph import (
    Arm,
    Ask,
    BranchNode,
    Call,
    Compare,
    Exists,
    Literal,
    MapNode,
    MergeNode,
    ModelNode,
    Node,
    OutputNode,
    Policy,
    Ref,
    ToolNode,
    ValidatorNode,
    Workflow,
)
from workflows.record import WorkflowResult
from workflows.values import render


def flow(*nodes: Node, **shown: Ref) -> Workflow:
    """The steps, and an output of what is shown."""
    text = " ".join(f"{{{name}}}" for name in shown)
    return Workflow("w", "", (*nodes, OutputNode(id="out", text=text, values=shown)), {"x": {}})


def step(node_id: str, tool: str = "s/t", **more: Any) -> ToolNode:
    return ToolNode(id=node_id, tool=tool, **more)


def diamond(width: int = 3) -> Workflow:
    middle = [step(f"m{i}", arguments={"x": Ref("first.y.0")}) for i in range(width)]
    shown = {f"v{i}": Ref(f"m{i}.y") for i in range(width)}
    return flow(*middle, step("first", arguments={"x": Ref("inputs.x")}), **shown)


def go(workflow: Workflow, caller: Scripted | None = None, x: object = 1, limit: int = 8) -> WorkflowResult:
    return asyncio.run(run(workflow, {"x": x}, caller or Scripted(), limit=limit))


def failing(*nodes: str) -> Scripted:
    return Scripted(lambda request: Outcome(None, "broken") if request.node in nodes else Outcome({"y": [1]}))


def states(result: WorkflowResult) -> Mapping[str, str]:
    return {record.node: record.state for record in result.records}


@settings(max_examples=15, deadline=None)
@given(st.permutations(["first", "m0", "m1", "m2"]), st.integers(1, 4))
def test_records_do_not_depend_on_who_is_faster(speed: list[str], limit: int) -> None:
    caller = Scripted(
        lambda request: Outcome({"y": [request.arguments["x"], request.node]}),
        turns=lambda request: speed.index(request.node) * 3,
    )
    result = go(diamond(), caller, x=7, limit=limit)
    assert [record.node for record in result.records] == ["first", "m0", "m1", "m2", "out"]
    assert result.text == '[7, "m0"] [7, "m1"] [7, "m2"]'


def test_ready_steps_run_together_up_to_the_limit() -> None:
    for limit, most in ((8, 5), (2, 2)):
        caller = Scripted()
        go(diamond(5), caller, limit=limit)
        assert caller.most == most


def test_a_failure_skips_what_needs_it_and_nothing_else() -> None:
    workflow = flow(*diamond().nodes[:-1], step("other"), v=Ref("m0"))
    result = go(workflow, failing("first"))
    assert states(result) == {
        "first": "failed",
        **dict.fromkeys(("m0", "m1", "m2", "out"), "skipped"),
        "other": "done",
    }
    assert result.text is None
    assert [record.error for record in result.failures] == ["broken"]


def test_a_result_without_the_field_fails_the_step_that_wants_it() -> None:
    result = go(diamond(), Scripted(lambda request: Outcome({"z": 1})))
    assert {record.node for record in result.failures} == {"m0", "m1", "m2"}
    assert all("'y'" in str(record.error) for record in result.failures)


@pytest.mark.parametrize(
    "nodes",
    [
        (step("a", arguments={"x": Ref("b")}), step("b", arguments={"x": Ref("a")})),
        (step("a", arguments={"x": Ref("a")}),),
        (step("a", after=("nowhere",)),),
        (step("a"), step("a")),
    ],
)
def test_what_can_never_start_is_refused(nodes: tuple[Node, ...]) -> None:
    with pytest.raises(WorkflowError, match="can never start"):
        compiled(flow(*nodes))


def test_without_an_output_nothing_runs() -> None:
    with pytest.raises(WorkflowError, match="no output"):
        compiled(Workflow("w", "", (step("a"),)))


def test_output_text() -> None:
    assert render("{a:>99}", {"a": "x"}) == "{a:>99}"
    assert render("{a} {{}} {b}", {"a": "x", "b": {"k": [1]}}) == 'x {} {"k": [1]}'


def branch() -> Workflow:
    return flow(
        BranchNode(
            id="size", arms=(Arm("big", Compare(Ref("inputs.x"), "gt", Literal(5))),), otherwise="small"
        ),
        step("more", "s/big", when="size.big"),
        step("less", "s/small", when="size.small"),
        MergeNode(id="either", sources=(Ref("more.y"), Ref("less.y"))),
        v=Ref("either"),
    )


@pytest.mark.parametrize(
    ("x", "ran", "left"), [(9, "more", "less"), (1, "less", "more"), ("text", "less", "more")]
)
def test_a_branch_takes_one_arm_and_a_merge_what_is_there(x: object, ran: str, left: str) -> None:
    result = go(branch(), x=x)
    assert states(result) == {"size": "done", ran: "done", left: "skipped", "either": "done", "out": "done"}


def test_a_branch_without_an_arm_that_holds_fails() -> None:
    only = BranchNode(id="only", arms=(Arm("there", Exists(Ref("inputs.x"))),))
    result = go(flow(only, step("a", when="only.there"), v=Ref("a")), x=None)
    assert states(result) == {"only": "failed", "a": "skipped", "out": "skipped"}


def test_a_merge_of_what_failed_has_nothing() -> None:
    result = go(branch(), failing("more"), x=9)
    assert states(result)["either"] == "failed"
    listed = flow(
        step("a"), step("b"), MergeNode(id="m", sources=(Ref("a"), Ref("b")), mode="list"), v=Ref("m")
    )
    assert go(listed, failing("a")).text == '[{"y": [1]}]'


def test_a_map_calls_for_each_item_in_order_and_stays_within_its_limit() -> None:
    each = Call("s/t", {"n": Ref("item.n"), "x": Ref("inputs.x.0.n")})
    node = MapNode(id="all", over=Ref("inputs.x"), each=each, limit=3)
    caller = Scripted(lambda r: Outcome(r.arguments["n"]), turns=lambda r: 9 - int(str(r.arguments["n"])))
    assert go(flow(node, v=Ref("all")), caller, x=[{"n": n} for n in (1, 2, 3)]).text == "[1, 2, 3]"
    assert caller.most == 3
    assert [request.place for request in caller.asked] == ["each.0", "each.1", "each.2"]
    for x, error in (([{"n": 1}] * 4, "4 items"), ("abc", "expected a list"), ([{}], "no 'n'")):
        [failed] = go(flow(node, v=Ref("all")), x=x).failures
        assert error in str(failed.error)
    assert (
        go(flow(node, v=Ref("all")), x=[]).text == "[]"
    )  # what each call takes is not there, but nobody asks for it


def test_a_model_step_and_a_validator() -> None:
    answer = {"type": "object", "required": ["n"]}
    ask = ModelNode(id="ask", prompt="how many {x}?", values={"x": Ref("inputs.x")}, answer=answer)
    said: list[object] = [{}, {"n": 4}]
    caller = Scripted(say=lambda request: Outcome(said.pop(0)))
    tried = go(flow(ModelNode(**_again(ask, Policy(retries=1))), v=Ref("ask.n")), caller)
    assert (tried.text, tried.records[0].attempts) == ("4", 2)
    check = ValidatorNode(id="check", value=Ref("inputs.x"), schema={"type": "integer", "minimum": 3})
    assert go(flow(check, v=Ref("check")), x=3).text == "3"
    [failed] = go(flow(check, v=Ref("check")), x=2).failures
    assert "does not meet the schema: 2 is less than the minimum of 3" in str(failed.error)


def test_a_map_may_ask() -> None:
    node = MapNode(id="all", over=Ref("inputs.x"), each=Ask("{n}!", {"n": Ref("item")}), limit=3)
    assert go(flow(node, v=Ref("all")), x=["a", "b"]).text == '["a!", "b!"]'


def _again(node: Node, policy: Policy) -> dict[str, Any]:
    return {name: getattr(node, name) for name in ("id", "prompt", "values", "answer")} | {"policy": policy}


def test_a_failure_is_tried_again_then_recovered_then_something_stands_in() -> None:
    recovery, fallback = Call("s/other", {"x": Ref("inputs.x")}), Literal("none")
    for broken, expected, calls in (
        (set(), '{"y": [1]}', 1),
        ({"s/t"}, '{"y": [1]}', 4),
        ({"s/t", "s/other"}, "none", 6),
    ):
        policy = Policy(retries=2, recovery=recovery, fallback=fallback)
        caller = Scripted(
            lambda r, broken=broken: Outcome(None, "no") if r.tool in broken else Outcome({"y": [1]})
        )  # type: ignore[misc]
        result = go(flow(step("a", policy=policy), v=Ref("a")), caller)
        assert (result.text, len(caller.asked), result.records[0].attempts) == (expected, calls, calls)


@pytest.mark.parametrize("repeatable", [True, False])
def test_what_may_have_happened_is_tried_again_only_where_it_does_no_harm(repeatable: bool) -> None:
    policy = Policy(retries=2, recovery=Call("s/other"), fallback=Literal("none"))
    caller = Scripted(lambda request: Outcome(None, "lost", uncertain=True), repeatable_tools=repeatable)
    result = go(flow(step("a", policy=policy), v=Ref("a")), caller)
    assert (result.text, len(caller.asked)) == (("none", 6) if repeatable else (None, 1))


def test_a_call_that_takes_too_long_is_given_up() -> None:
    class Silent(Scripted):
        async def tool(self, request: ToolRequest) -> Outcome:
            self.asked.append(request)
            await asyncio.Event().wait()
            raise AssertionError

    for repeatable, calls in ((True, 2), (False, 1)):
        caller = Silent(repeatable_tools=repeatable)
        [failed] = go(
            flow(step("a", policy=Policy(retries=1, timeout_seconds=0.01)), v=Ref("a")), caller
        ).failures
        assert failed.error == "no answer within 0.01 s"
        assert len(caller.asked) == calls


def test_conditions_before_and_after() -> None:
    big = Compare(Ref("inputs.x"), "gt", Literal(5))
    [refused] = go(flow(step("a", requires=(big,)), v=Ref("a"))).failures
    assert (refused.error, refused.attempts) == ("requires.0 does not hold", 0)
    has = Compare(Ref("a.y"), "contains", Ref("inputs.x"))
    assert go(flow(step("a", ensures=(has,)), v=Ref("a"))).text is not None
    [failed] = go(flow(step("a", ensures=(has,), policy=Policy(retries=2)), v=Ref("a")), x=2).failures
    assert (failed.error, failed.attempts) == ("ensures.0 does not hold", 3)


def test_a_caller_that_breaks_ends_the_run_and_leaves_no_call_behind() -> None:
    class Broken(Exception):
        pass

    def answer(request: ToolRequest) -> Outcome:
        if request.node == "m1":
            raise Broken
        return Outcome({"y": [1]})

    mapped = flow(MapNode(id="m1", over=Literal([1, 2]), each=Call("s/t"), limit=2), step("m2"), v=Ref("m1"))
    for workflow in (diamond(), mapped):
        caller = Scripted(answer, turns=lambda request: 5 if request.node == "m2" else 1)
        with pytest.raises(Broken):
            go(workflow, caller)
        assert caller.running == 0


def test_cancelled_no_call_is_left_under_way() -> None:
    caller = Scripted(turns=lambda request: 1_000_000)

    async def cut_off() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await run(diamond(), {"x": 1}, caller)
        assert caller.running == 0

    asyncio.run(cut_off())
