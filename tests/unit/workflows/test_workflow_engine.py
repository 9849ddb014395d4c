"""The engine runs every ready node at once, and its records do not tell who was faster."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.engine import ToolOutcome, WorkflowError, WorkflowResult, order, render, run
from workflows.graph import Literal, OutputNode, Ref, ToolNode, Workflow


def diamond(width: int = 3) -> Workflow:
    first = ToolNode("first", "s/t", {"x": Ref("inputs", ("x",))})
    middle = tuple(ToolNode(f"m{i}", "s/t", {"x": Ref("first", ("y", "0"))}) for i in range(width))
    values = {f"v{i}": Ref(f"m{i}", ("y",)) for i in range(width)}
    return Workflow("d", "", (OutputNode("out", "{v0}", values), *middle, first), {"x": {"type": "integer"}})


@settings(max_examples=25)
@given(st.permutations(["first", "m0", "m1", "m2"]), st.integers(1, 4))
def test_records_do_not_depend_on_who_is_faster(speed: list[str], limit: int) -> None:
    async def call(node: ToolNode, arguments: dict[str, object]) -> ToolOutcome:
        for _ in range(speed.index(node.id) * 3):
            await asyncio.sleep(0)
        return ToolOutcome({"y": [arguments["x"], node.id]})

    result = asyncio.run(run(diamond(), {"x": 7}, call, limit=limit))
    assert [record.node for record in result.records] == ["first", "m0", "m1", "m2", "out"]
    assert result.text == '[7, "m0"]'


def test_ready_nodes_run_together_up_to_the_limit() -> None:
    running, most = 0, 0

    async def call(node: ToolNode, arguments: dict[str, object]) -> ToolOutcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return ToolOutcome({"y": [1]})

    asyncio.run(run(diamond(5), {"x": 1}, call))
    assert most == 5
    most = 0
    asyncio.run(run(diamond(5), {"x": 1}, call, limit=2))
    assert most == 2


def go(workflow: Workflow, outcomes: Mapping[str, ToolOutcome]) -> WorkflowResult:
    async def call(node: ToolNode, arguments: dict[str, object]) -> ToolOutcome:
        return outcomes[node.id]

    return asyncio.run(run(workflow, {"x": 1}, call))


def test_a_failure_skips_what_needs_it_and_nothing_else() -> None:
    other = ToolNode("other", "s/t", {})
    workflow = diamond()
    workflow = Workflow("d", "", (*workflow.nodes, other), workflow.inputs)
    result = go(workflow, {"first": ToolOutcome(None, "broken"), "other": ToolOutcome(1)})
    states = {record.node: record.state for record in result.records}
    assert states == {
        "first": "failed",
        "m0": "skipped",
        "m1": "skipped",
        "m2": "skipped",
        "out": "skipped",
        "other": "done",
    }
    assert result.text is None
    assert [record.error for record in result.failures] == ["broken"]


def test_a_result_without_the_field_fails_the_node_that_wants_it() -> None:
    result = go(diamond(), {"first": ToolOutcome({"z": 1})})
    assert {record.node for record in result.failures} == {"m0", "m1", "m2"}
    assert all("'y'" in str(record.error) for record in result.failures)


def test_what_can_never_start_is_refused() -> None:
    loop = Workflow("l", "", (ToolNode("a", "s/t", {"x": Ref("b")}), ToolNode("b", "s/t", {"x": Ref("a")})))
    with pytest.raises(WorkflowError, match="a, b"):
        order(loop)


def test_output_text() -> None:
    assert render("{a:>99}", {"a": "x"}) == "{a:>99}"
    assert render("{a} {{}} {b}", {"a": "x", "b": {"k": [1]}}) == 'x {} {"k": [1]}'
    node = OutputNode("o", "{a}", {"a": Literal(2)})
    assert go(Workflow("w", "", (node,)), {}).text == "2"
