"""A plan is the same workflow in fewer words, and what is none says why."""

import json

import pytest
from graphs import values
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflows.graph import Literal, OutputNode, Ref, ToolNode, Workflow
from workflows.plan import PLAN_SCHEMA, PlanError, from_plan, to_plan
from workflows.values import render

ids = st.sampled_from(["s1", "s2", "s3"])
argument = values.map(Literal) | st.builds(
    lambda name, way: Ref(name + way), ids, st.sampled_from(["", ".a", ".a.0"])
)
steps = st.builds(
    lambda name, arguments, after: ToolNode(id=name, tool="s/t", arguments=arguments, after=tuple(after)),
    ids,
    st.dictionaries(st.text(), argument, max_size=3),
    st.lists(ids, max_size=2),
)
answers = st.lists(st.text(alphabet="a{} ") | st.just("{s1.a}"), max_size=4).map("".join)


@settings(max_examples=30, deadline=None)
@given(st.lists(steps, max_size=3), answers)
def test_what_was_planned_is_what_is_read(nodes: list[ToolNode], answer: str) -> None:
    output = from_plan({"steps": [], "answer": answer}).nodes[0]
    workflow = Workflow("plan", "", (*nodes, output))
    plan = json.loads(json.dumps(to_plan(workflow)))
    assert Draft202012Validator(PLAN_SCHEMA).is_valid(plan)
    again = from_plan(plan)
    assert again.nodes[:-1] == tuple(nodes)
    assert isinstance(again.nodes[-1], OutputNode)
    assert isinstance(output, OutputNode)
    shown = dict.fromkeys(output.values, "X")
    assert render(again.nodes[-1].text, shown) == render(output.text, shown)


def test_references_and_braces() -> None:
    plan = {
        "steps": [
            {
                "id": "s1",
                "tool": "a/b",
                "arguments": {"x": "{s0.p.0}", "y": "{{s0}}", "z": "in {s0}", "n": ["{s0}"]},
            }
        ],
        "answer": "{s1.t} of {{s1}} {s1.t} {",
    }
    step, answer = from_plan(plan).nodes
    assert isinstance(step, ToolNode)
    assert step.arguments == {
        "x": Ref("s0.p.0"),
        "y": Literal("{s0}"),
        "z": Literal("in {s0}"),
        "n": Literal(["{s0}"]),
    }
    assert isinstance(answer, OutputNode)
    assert render(answer.text, {"v0": "T"}) == "T of {s1} T {"
    assert answer.values == {"v0": Ref("s1.t")}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("prose", "expected an object with `steps`"),
        ({"steps": [], "answer": None}, "expected an object with `steps`"),
        ({"steps": ["s"], "answer": ""}, "steps[0]: expected an object"),
        ({"steps": [{"id": "a", "tool": "x/y", "arguments": []}], "answer": ""}, "steps[0].arguments"),
        (
            {"steps": [{"id": "A", "tool": "xy", "arguments": {}}], "answer": ""},
            "nodes[0].tool: expected server/tool",
        ),
        ({"steps": [{}] * 500, "answer": ""}, "at most 32, found 500"),
    ],
)
def test_what_is_no_plan_says_why(plan: object, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        from_plan(plan)
    assert message in str(caught.value)
