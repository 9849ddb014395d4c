"""Edits of a workflow's shape, and random typed edits: whatever is drawn, what was right stays right, and nothing is reached
that was out of reach."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from graphs import workflows
from hypothesis import given, settings
from hypothesis import strategies as st
from runnable import runnable
from shop import MAPPED, RIGHT, TOOLS

from workflows.catalog import Catalog, ToolSpec, catalog
from workflows.check import check
from workflows.codec import canonical, digest, from_json, to_json
from workflows.compiled import compiled
from workflows.difference import difference
from workflows.edits import Edit, EditError, SwapTool, apply, told
from workflows.graph import Call, Literal, MapNode, MergeNode, OutputNode, Policy, Ref, ToolNode, Workflow
from workflows.reshaping import Add, Each, Hide, Move, Replace, SetPolicy, Split
from workflows.searching.offers import Offers
from workflows.searching.operators import Operator
from workflows.searching.variation import OPERATORS, Offspring, cross, place, sound, vary

LITERALS = ["tea", 3, "curt"]
seeds = st.integers(0, 1 << 30)


@st.composite
def right(draw: st.DrawFn) -> Workflow:
    """A workflow that nothing is wrong with, far from the one that it comes from."""
    rng, found = Random(draw(seeds)), RIGHT
    for _ in range(draw(st.integers(0, 6))):
        child = vary(found, TOOLS, LITERALS, rng)
        found = child.workflow if child else found
    return found


def by_id(workflow: Workflow) -> dict[str, Any]:
    return {node.id: node for node in workflow.nodes}


def after(edit: Edit) -> dict[str, Any]:
    return by_id(apply(edit, RIGHT))


def test_a_copy_serves_one_reader_and_the_first_the_others() -> None:
    found = after(Split("find", "again", "find_2"))
    assert found["again"].arguments == {"name": Ref("find_2.items.0.name")}
    assert found["price"].arguments == {"name": Ref("find.items.0.name")}
    assert replace(found["find_2"], id="find") == found["find"]


def test_one_of_two_equal_steps_stands_in_for_both() -> None:
    found = after(Replace("price", "again"))
    assert "price" not in found
    assert found["out"].values["a"] == Ref("again.price")
    assert found["order"].after == ("again",)


def test_a_call_for_each_item_and_a_policy_and_an_order() -> None:
    found = after(Each("price", "name", Ref("find.items"), 9))["price"]
    assert found == MapNode(
        id="price", over=Ref("find.items"), each=Call("shop/price", {"name": Ref("item")}), limit=9
    )
    assert after(Move("order", ("find", "again")))["order"].after == ("find", "again")
    assert after(SetPolicy("find", Policy(retries=3)))["find"].policy.retries == 3
    assert after(Add(MergeNode(id="new", sources=(Ref("find"),))))["new"].sources == (Ref("find"),)


def test_what_the_answer_no_longer_tells_leaves_its_other_braces() -> None:
    braces = OutputNode(id="out", text="{{a}} {a} {b}", values={"a": Ref("x.a"), "b": Ref("x.b")})
    found = apply(Hide("out", "a"), Workflow("w", "", (braces,))).nodes[0]
    assert found == OutputNode(id="out", text="{{a}}  {b}", values={"b": Ref("x.b")})


@pytest.mark.parametrize(
    "edit",
    [
        Add(ToolNode(id="find", tool="shop/find")),
        Add(ToolNode(id="item", tool="shop/find")),
        Split("find", "sum", "new"),
        Split("find", "price", "again"),
        Split("nowhere", "price", "new"),
        Replace("find", "price"),
        Replace("find", "find"),
        Replace("find", "inputs"),
        Replace("find", "out"),
        Each("out", "name", Ref("find"), 3),
        Each("price", "nothing", Ref("find"), 3),
        Hide("out", "z"),
        Hide("price", "name"),
        Move("nowhere", ()),
    ],
)
def test_an_edit_that_does_not_fit_says_so(edit: Edit) -> None:
    with pytest.raises(EditError):
        apply(edit, RIGHT)


def test_nothing_is_wrong_with_the_workflows_that_the_others_come_from() -> None:
    assert check(RIGHT, TOOLS) == check(MAPPED, TOOLS) == ()


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_finds_something_to_do_and_leaves_nothing_wrong(operator: Operator) -> None:
    done = set()
    for workflow in (RIGHT, MAPPED):
        for seed in range(60):
            edits = operator(Offers(workflow, TOOLS, LITERALS), Random(seed))
            child = sound(workflow, edits, workflow, TOOLS, frozenset()) if edits else None
            if child is not None:
                done.add(digest(child.workflow))
                assert check(child.workflow, TOOLS) == ()
    assert done


@settings(max_examples=60, deadline=None)
@given(right(), seeds, st.integers(1, 4))
def test_what_is_right_stays_right(workflow: Workflow, seed: int, intensity: int) -> None:
    child = vary(workflow, TOOLS, LITERALS, Random(seed), intensity=intensity)
    if child is not None:  # several edits may undo one another
        assert check(child.workflow, TOOLS) == ()
        well_made(child)
        compiled(child.workflow)


@settings(max_examples=40, deadline=None)
@given(right(), right(), seeds)
def test_crossed_what_is_right_stays_right(one: Workflow, other: Workflow, seed: int) -> None:
    child = cross(one, other, TOOLS, Random(seed))
    if child is not None:
        assert check(child.workflow, TOOLS) == ()
        well_made(child)


@settings(max_examples=30, deadline=None)
@given(workflows | runnable(), workflows | runnable(), seeds)
def test_what_is_wrong_gets_no_worse(workflow: Workflow, other: Workflow, seed: int) -> None:
    known = {place(problem) for problem in check(workflow, TOOLS)}
    for child in (vary(workflow, TOOLS, LITERALS, Random(seed)), cross(workflow, other, TOOLS, Random(seed))):
        if child is not None:
            assert {place(problem) for problem in check(child.workflow, TOOLS)} <= known
            assert child.workflow.tools <= workflow.tools | TOOLS.tools.keys()
            well_made(child)


def well_made(child: Offspring) -> None:
    assert canonical(from_json(to_json(child.workflow))) == canonical(child.workflow)
    assert all(told(edit) for edit in child.edits)


def only(*keys: str) -> Catalog:
    return replace(TOOLS, tools={key: spec for key, spec in TOOLS.tools.items() if key in keys})


@pytest.mark.parametrize("how", ["capabilities", "catalog"])
def test_a_thousand_mutations_gain_no_capability_unseen(how: str) -> None:
    """Neither through a step of their own nor through a recovery, a map or a step of another."""
    granted = frozenset({*RIGHT.tools, "shop/cost", "desk/open"})
    tools = TOOLS if how == "capabilities" else only(*granted)
    first = replace(RIGHT, capabilities=tuple(sorted(granted)) if how == "capabilities" else None)
    letter = ToolNode(id="letter", tool="mail/send", arguments={"to": Literal("a"), "text": Ref("price")})
    stranger = Workflow("x", "", (*RIGHT.nodes, letter), RIGHT.inputs)
    rng, found, used = Random(5), first, set[str]()
    for number in range(500):
        child = cross(found, stranger, tools, rng) if number % 5 == 0 else None
        child = child or vary(found, tools, LITERALS, rng, intensity=2)
        if child is None:
            continue
        gained = difference(first, child.workflow, TOOLS).gained
        assert gained.keys() <= granted, [told(edit) for edit in child.edits]
        used |= gained.keys()
        found = child.workflow if len(child.workflow.nodes) < 20 else first
    assert used == granted - RIGHT.tools  # what it may reach is reached


LETTER = Call("mail/send", {"to": Literal("a"), "text": Literal("b")})


@pytest.mark.parametrize(
    "way",
    [
        ToolNode(id="way", tool=LETTER.tool, arguments=LETTER.arguments),
        ToolNode(id="way", tool="shop/price", policy=Policy(recovery=LETTER)),
        MapNode(id="way", over=Ref("find.items"), each=LETTER, limit=3),
    ],
    ids=["step", "recovery", "map"],
)
def test_no_way_to_call_a_tool_leads_past_what_a_workflow_may(way: ToolNode | MapNode) -> None:
    found = replace(RIGHT, nodes=(*RIGHT.nodes, way), capabilities=tuple(sorted(RIGHT.tools)))
    [problem] = [problem for problem in check(found, TOOLS) if problem.kind == "capability"]
    assert (problem.node, problem.found) == ("way", LETTER.tool)
    assert difference(RIGHT, found, TOOLS).gained.keys() == {LETTER.tool}


def test_a_tool_that_is_refused_already_is_not_changed_for_another_one() -> None:
    """Nothing new is wrong with it, and yet it would call what its parent could not."""
    letter = ToolNode(id="letter", tool="mail/burn", arguments={})
    parent = replace(RIGHT, nodes=(*RIGHT.nodes, letter))
    known = frozenset(map(place, check(parent, TOOLS)))
    assert known
    assert sound(parent, [SwapTool("letter", "", "mail/steal")], parent, TOOLS, known) is None
    assert sound(parent, [SetPolicy("letter", Policy(retries=1))], parent, TOOLS, known) is not None


def test_the_same_seed_means_the_same_offspring_in_every_process() -> None:
    code = (
        "from random import Random; from shop import RIGHT, TOOLS; from workflows.codec import digest;"
        "from workflows.searching.variation import cross, vary; rng = Random(4); a = b = RIGHT\n"
        "for _ in range(30):\n"
        "  c = vary(a, TOOLS, ['tea', 3], rng, intensity=2); d = cross(a, b, TOOLS, rng)\n"
        "  found = c or d\n"
        "  a, b = found.workflow if found and len(a.nodes) < 12 else RIGHT, (d.workflow if d else a)\n"
        "print(digest(a), digest(b))"
    )
    here = Path(__file__)
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": f"{here.parent}:{here.parents[3]}"},
        ).stdout
        for number in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


def test_a_tool_without_a_schema_or_with_a_broken_one_stops_nothing() -> None:
    strange = catalog([
        *TOOLS, ToolSpec("x", "open"), ToolSpec("x", "broken", input_schema={"properties": {"a": {"type": 7}}}),
        ToolSpec("x", "loop", input_schema={"properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
    ])  # fmt: skip
    rng, found = Random(1), RIGHT
    for _ in range(150):
        child = vary(found, strange, LITERALS, rng, intensity=2)
        if child is not None and len(child.workflow.nodes) < 12:
            found = child.workflow
            assert check(found, strange) == ()
