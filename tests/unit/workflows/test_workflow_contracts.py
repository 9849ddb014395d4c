"""An order of calls that a contract forbids is refused before any call, in whatever order the engine might make them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.catalog import Catalog, Contract, Move, ToolSpec, catalog
from workflows.check import check
from workflows.graph import (
    Arm,
    BranchNode,
    Call,
    Exists,
    Literal,
    MapNode,
    Node,
    OutputNode,
    Policy,
    Ref,
    ToolNode,
    Workflow,
)

DOOR = Contract(
    "door",
    "closed",
    {"d/open": Move(("closed",), "open"), "d/walk": Move(("open",)), "d/close": Move(("open",), "closed")},
)
TOOLS = catalog([ToolSpec("d", name) for name in ("open", "walk", "close", "look")], [DOOR])


def flow(*nodes: Node) -> Workflow:
    return Workflow("w", "", (*nodes, OutputNode(id="out", text="")), {"x": {}})


def step(node_id: str, *after: str, tool: str | None = None, **more: Any) -> ToolNode:
    return ToolNode(id=node_id, tool=f"d/{tool or node_id.rstrip('0123456789')}", after=after, **more)


def found(workflow: Workflow, tools: Catalog = TOOLS) -> list[tuple[str, str, str, str]]:
    problems = [problem for problem in check(workflow, tools) if problem.kind == "stage"]
    assert len(problems) == len(check(workflow, tools))
    return [(problem.node, problem.path, problem.expected, problem.found) for problem in problems]


def test_a_legal_order_and_tools_without_a_contract() -> None:
    assert found(flow(step("open"), step("walk", "open"), step("close", "walk"), step("look"))) == []
    again = (step("open2", "close"), step("walk2", "open2"))
    assert found(flow(step("open"), step("walk", "open"), step("close", "walk"), *again)) == []


@pytest.mark.parametrize(
    ("nodes", "node", "says"),
    [
        ((step("walk"),), "walk", "stage closed"),
        ((step("open"), step("close", "open"), step("walk", "close")), "walk", "stage closed"),
        ((step("open"), step("open2", "open")), "open2", "stage open"),
    ],
)
def test_an_illegal_order_is_named(nodes: tuple[Node, ...], node: str, says: str) -> None:
    assert [(one[0], one[1], one[3]) for one in found(flow(*nodes))] == [(node, "tool", says)]


def test_without_an_order_any_order_counts() -> None:
    assert found(flow(step("open"), step("walk"))) == [
        ("walk", "tool", "to run before or after open (door)", "no order")
    ]
    side = [one[0] for one in found(flow(step("open"), step("walk", "open"), step("close", "open")))]
    assert side == ["walk"]


def test_an_injected_step_is_refused() -> None:
    good = (step("open"), step("walk", "open"), step("close", "walk"))
    injected = step("walk9", "close")
    assert [one[0] for one in found(flow(*good, injected))] == ["walk9"]


def test_arms_of_one_branch_never_meet() -> None:
    branch = BranchNode(id="b", arms=(Arm("yes", Exists(Ref("inputs.x"))),), otherwise="no")
    both = (step("open", when="b.yes"), step("walk", "open"), step("look", when="b.no"))
    assert found(flow(branch, *both)) == []
    assert [one[0] for one in found(flow(branch, step("open", when="b.yes"), step("walk", when="b.no")))] == [
        "walk"
    ]
    mayhap = flow(branch, step("open", when="b.yes"), step("look", when="b.yes"), step("walk", tool="walk"))
    assert [one[3] for one in found(mayhap)] == ["no order"]


def test_a_map_changes_the_stage_for_its_next_item_and_a_recovery_may_meet_either() -> None:
    each = MapNode(id="all", over=Literal([1, 2]), each=Call("d/open"), limit=2)
    assert found(flow(each)) == [("all", "each.tool", "door in stage closed", "stage open")]
    walking = MapNode(id="all", over=Literal([1, 2]), each=Call("d/walk"), limit=2, after=("open",))
    assert found(flow(step("open"), walking)) == []
    recovering = step("open", policy=Policy(recovery=Call("d/open")))
    assert [(one[1], one[3]) for one in found(flow(recovering))] == [("policy.recovery.tool", "stage open")]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["open", "walk", "close", "look"]), max_size=7))
def test_a_line_of_calls_is_judged_as_the_machine_judges_it(names: list[str]) -> None:
    nodes = [step(f"s{i}", *([f"s{i - 1}"] if i else []), tool=name) for i, name in enumerate(names)]
    stage, illegal = "closed", []
    for index, name in enumerate(names):
        move = DOOR.tools.get(name if "/" in name else f"d/{name}")
        if move is None:
            continue
        if stage not in move.allowed:
            illegal.append(f"s{index}")
        stage = move.to or stage
    assert [one[0] for one in found(flow(*nodes))] == illegal
