"""Everything wrong is found at once, and each problem says where, what was expected and what was found."""

from collections.abc import Mapping

import pytest
from graphs import workflows
from hypothesis import given, settings

from workflows.catalog import Catalog, ToolSpec, catalog, read_listing
from workflows.check import Problem, check
from workflows.graph import Argument, Literal, OutputNode, Ref, ToolNode, Workflow
from workflows.shipped import choose, library

TOOLS = catalog(
    [
        ToolSpec(
            "shop",
            "price",
            input_schema={
                "type": "object",
                "properties": {"item": {"type": "string"}, "count": {"$ref": "#/$defs/count"}},
                "required": ["item"],
                "additionalProperties": False,
                "$defs": {"count": {"type": "integer", "minimum": 1}},
            },
            output_schema={"type": "object", "properties": {"amount": {"type": "number"}}},
        ),
        ToolSpec("shop", "convert", input_schema={"properties": {"amount": {"type": "number"}}}),
    ]
)


def flow(arguments: Mapping[str, Argument], **more: object) -> Workflow:
    nodes = (
        ToolNode(id="price", tool="shop/price", arguments=arguments),
        OutputNode(id="answer", text="{x}", values={"x": Ref("price.amount")}),
    )
    return Workflow("w", "", nodes, {"item": {"type": "string"}, "many": {"type": "number"}}, **more)  # type: ignore[arg-type]


def kinds(workflow: Workflow, tools: Catalog = TOOLS) -> list[tuple[str, str, str]]:
    return [(p.kind, p.node, p.path) for p in check(workflow, tools)]


def test_a_right_workflow_has_no_problems() -> None:
    assert check(flow({"item": Ref("inputs.item"), "count": Literal(2)}), TOOLS) == ()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [("missing_argument", "price", "arguments.item")]),
        ({"item": Literal(3)}, [("argument_type", "price", "arguments.item")]),
        ({"item": Literal("x"), "count": Literal(0)}, [("argument_type", "price", "arguments.count")]),
        ({"item": Literal("x"), "cuont": Literal(1)}, [("unknown_argument", "price", "arguments.cuont")]),
        ({"item": Ref("inputs.itme")}, [("dangling_reference", "price", "arguments.item")]),
        ({"item": Ref("nowhere")}, [("dangling_reference", "price", "arguments.item")]),
        ({"item": Ref("inputs.many")}, [("argument_type", "price", "arguments.item")]),
    ],
)
def test_argument_problems(arguments: dict[str, Argument], expected: list[tuple[str, str, str]]) -> None:
    assert kinds(flow(arguments)) == expected


def test_results_are_typed_where_the_tool_says_what_it_returns() -> None:
    price = ToolNode(id="price", tool="shop/price", arguments={"item": Literal("x")})
    named = ToolNode(id="named", tool="shop/price", arguments={"item": Ref("price.amount")})
    answer = OutputNode(id="answer", text="{a}{b}", values={"a": Ref("named.amuont"), "b": Ref("named")})
    assert kinds(Workflow("w", "", (price, named, answer))) == [
        ("argument_type", "named", "arguments.item"),
        ("dangling_reference", "answer", "values.a"),
    ]


def test_cycles_unreachable_nodes_and_missing_output_are_found_together() -> None:
    one = ToolNode(id="one", tool="shop/convert", arguments={"amount": Ref("two")})
    two = ToolNode(id="two", tool="shop/convert", arguments={"amount": Ref("one")})
    lost = ToolNode(id="lost", tool="shop/none", arguments={})
    found = kinds(Workflow("w", "", (one, two, lost)))
    assert ("output", "", "nodes") in found
    assert ("unknown_tool", "lost", "tool") in found
    assert {node for kind, node, _ in found if kind == "cycle"} == {"one", "two"}
    assert {node for kind, node, _ in found if kind == "unreachable"} == {"lost"}
    # the others may change something: nobody said that they only read


def test_template_names_must_be_given() -> None:
    answer = OutputNode(id="answer", text="{a} {b}", values={"a": Literal(1)})
    assert kinds(Workflow("w", "", (answer,))) == [("dangling_reference", "answer", "text.{b}")]
    assert kinds(Workflow("w", "", (OutputNode(id="answer", text="{a", values={}),))) == [
        ("template", "answer", "text")
    ]


def test_inputs_need_a_group_of_the_trigger() -> None:
    workflow = flow({"item": Ref("inputs.item")}, trigger="(?P<item>x)")
    assert kinds(workflow) == [("trigger", "", "inputs.many")]


@settings(max_examples=20, deadline=None)
@given(workflows)
def test_no_graph_breaks_the_checker(workflow: Workflow) -> None:
    for problem in check(workflow, TOOLS):
        assert isinstance(problem, Problem)
        assert str(problem)


def test_a_listing_is_read_and_its_hints_kept() -> None:
    entries = [{"name": "b", "annotations": {"readOnlyHint": True}}, {"nameless": 1}, {"name": "a"}]
    found = catalog(read_listing("s", entries))
    assert [(spec.key, spec.idempotent) for spec in found] == [("s/a", False), ("s/b", True)]


def test_a_workflow_is_chosen_only_when_trigger_and_tools_fit() -> None:
    names = ("source_timezone", "time", "target_timezone")
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    tools = catalog([ToolSpec("time", "convert_time", input_schema=schema)])
    text = "10:30 in Europe/Berlin is when in Asia/Tokyo and America/Lima?"
    found = choose(text, library(), tools)
    assert found is not None
    assert found[0].name == "world_clock"
    assert found[1] == {
        "time": "10:30",
        "source": "Europe/Berlin",
        "first": "Asia/Tokyo",
        "second": "America/Lima",
    }
    assert choose(text, library(), Catalog()) is None
    assert choose("what time is it?", library(), tools) is None
