"""What may be done about a problem: the edit that a careful reader would make stands among the first, and none makes it
worse."""

import json
from dataclasses import replace
from typing import Any

import pytest
from graphs import argument, workflows
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.catalog import Contract, Move, ToolSpec, catalog
from workflows.check import check
from workflows.codec import canonical, from_json, to_json
from workflows.edits import (
    Bind,
    Bound,
    Edit,
    EditError,
    NotAfter,
    Remove,
    Rename,
    RunAfter,
    Show,
    SwapTool,
    Unbind,
    apply,
    apply_all,
    told,
)
from workflows.graph import Call, Literal, MapNode, OutputNode, Ref, ToolNode, Workflow
from workflows.repairs import repairs


def takes(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
ROWS = {"type": "array", "items": {"type": "object", "properties": {"name": TEXT, "size": NUMBER}}}
FOUND = {"type": "object", "properties": {"content": TEXT, "rows": ROWS}}
LOCK = Contract("lock", "closed", {"fs/open": Move(("closed",), "open"), "fs/use": Move(("open",))})
TOOLS = catalog(
    [
        ToolSpec(
            "fs", "read_text", "Read a file.", takes("path", path=TEXT, head=NUMBER), FOUND, effect="read"
        ),
        ToolSpec("fs", "write_text", "Write a file.", takes("path", "content", path=TEXT, content=TEXT)),
        ToolSpec("fs", "size", "How large a file is.", takes("path", path=TEXT), NUMBER, effect="read"),
        ToolSpec("fs", "open"),
        ToolSpec("fs", "use"),
    ],
    [LOCK],
)
READ = ToolNode(id="read", tool="fs/read_text", arguments={"path": Literal("a.txt")})
WRITE = ToolNode(
    id="write", tool="fs/write_text", arguments={"path": Literal("b.txt"), "content": Ref("read.content")}
)


def flow(*nodes: Any) -> Workflow:
    output = OutputNode(id="out", text="{a}", values={"a": Ref("read")})
    return Workflow("w", "", (*nodes, output), {"x": TEXT})


def with_arguments(node: ToolNode, **changes: Any) -> ToolNode:
    arguments = {**node.arguments, **{k: v for k, v in changes.items() if v is not None}}
    return replace(
        node, arguments={k: v for k, v in arguments.items() if k not in changes or changes[k] is not None}
    )


CONTENT = Bind("write", "arguments.content", Ref("read.content"))
CARRIED = (("content", "content"), ("path", "path"))
EACH = MapNode(id="write", over=Ref("read.rows"), each=Call("fs/size", {"path": Ref("item.name")}))
BROKEN: list[tuple[Any, str, Edit]] = [
    (replace(WRITE, tool="fs/write_txt"), "unknown_tool", SwapTool("write", "", "fs/write_text", CARRIED)),
    (
        with_arguments(WRITE, path=None, file_path=Literal("b.txt")),
        "unknown_argument",
        Rename("write", "arguments.file_path", "path"),
    ),
    (with_arguments(WRITE, content=None), "missing_argument", CONTENT),
    (with_arguments(WRITE, content=Ref("read")), "argument_type", CONTENT),
    (with_arguments(WRITE, content=Ref("read.contents")), "dangling_reference", CONTENT),
    (with_arguments(WRITE, content=Ref("reed.content")), "dangling_reference", CONTENT),
    (
        with_arguments(WRITE, content=Literal(7)),
        "argument_type",
        Bind("write", "arguments.content", Literal("7")),
    ),
    (replace(WRITE, after=("nowhere",)), "dangling_reference", NotAfter("write", "nowhere")),
    (EACH, "unbounded_map", Bound("write", 100)),
]


@pytest.mark.parametrize(("broken", "kind", "edit"), BROKEN)
def test_the_first_repair_is_the_one_that_was_meant(broken: Any, kind: str, edit: Edit) -> None:
    found = {problem.kind: ways for problem, ways in repairs(flow(READ, broken), TOOLS).items()}
    assert found[kind][0].edit == edit, [told(way.edit) for way in found[kind]]
    mended = apply(found[kind][0].edit, flow(READ, broken))
    assert kind not in {problem.kind for problem in check(mended, TOOLS)}


def test_a_text_becomes_the_number_that_it_is() -> None:
    broken = with_arguments(READ, head=Literal("5"))
    [(_, ways)] = repairs(flow(broken), TOOLS).items()
    assert ways[0].edit == Bind("read", "arguments.head", Literal(5))


def test_an_order_and_a_needless_step() -> None:
    opened, used = ToolNode(id="open", tool="fs/open"), ToolNode(id="use", tool="fs/use")
    found = repairs(flow(READ, opened, used), TOOLS)
    assert RunAfter("use", "open") in [way.edit for ways in found.values() for way in ways]
    lost = ToolNode(id="lost", tool="fs/size", arguments={"path": Literal("x")})
    [(_, ways)] = repairs(flow(READ, lost), TOOLS).items()
    assert [way.edit for way in ways] == [Show("out", Ref("lost")), Remove("lost")]


def test_an_order_that_would_be_a_circle_is_no_repair() -> None:
    opened, used = ToolNode(id="open", tool="fs/open", after=("use",)), ToolNode(id="use", tool="fs/use")
    found = repairs(flow(READ, opened, used), TOOLS)
    assert {problem.kind for problem in found} == {"stage"}
    assert RunAfter("use", "open") not in [way.edit for ways in found.values() for way in ways]


def test_values_that_a_request_names_may_stand_in() -> None:
    broken = with_arguments(READ, path=None)
    [(_, ways)] = repairs(flow(broken), TOOLS, ["named.txt"]).items()
    assert Bind("read", "arguments.path", Literal("named.txt")) in [way.edit for way in ways]


@settings(max_examples=10, deadline=None)
@given(workflows)
def test_no_repair_makes_anything_worse(workflow: Workflow) -> None:
    before = check(workflow, TOOLS)
    for problem, ways in repairs(workflow, TOOLS).items():
        for way in ways:
            left = check(apply(way.edit, workflow), TOOLS)
            assert len(left) == way.left
            assert (problem.kind, problem.node, problem.path) not in {(p.kind, p.node, p.path) for p in left}
            if problem.kind != "unknown_tool":
                assert len(left) < len(before)


names = st.sampled_from(["a", "b", "c"])
places = st.sampled_from(
    [
        "arguments.p",
        "values.p",
        "each.arguments.p",
        "each.values.p",
        "policy.recovery.arguments.p",
        "over",
        "value",
        "x",
    ]
)
edits: st.SearchStrategy[Edit] = st.one_of(
    st.builds(SwapTool, names, st.sampled_from(["", "each", "policy.recovery", "x"]), st.just("s/t")),
    st.builds(Bind, names, places, argument),
    st.builds(Unbind, names, places),
    st.builds(Rename, names, places, st.sampled_from("pq")),
    st.builds(Remove, names),
    st.builds(Show, names, st.just(Ref("a.x"))),
    st.builds(RunAfter, names, names),
    st.builds(NotAfter, names, names),
    st.builds(Bound, names, st.integers(1, 9)),
)


@settings(max_examples=30, deadline=None)
@given(workflows, st.lists(edits, max_size=4))
def test_an_edit_gives_a_workflow_or_says_that_it_does_not_fit(workflow: Workflow, todo: list[Edit]) -> None:
    known = dict(zip([node.id for node in workflow.nodes], "abcde", strict=False))
    renamed = replace(workflow, nodes=tuple(replace(node, id=known[node.id]) for node in workflow.nodes))
    try:
        edited = apply_all(todo, renamed)
    except EditError:
        return
    assert canonical(from_json(json.loads(json.dumps(to_json(edited))))) == canonical(edited)
    assert all(told(edit) for edit in todo)
