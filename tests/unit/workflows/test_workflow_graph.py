"""Workflows are data: what is read is what is written, and equal graphs have equal digests."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflows.graph import (
    GraphError,
    Literal,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
    canonical,
    from_json,
    to_json,
)
from workflows.shipped import LIBRARY, library

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schemas/workflow.schema.json").read_text())

names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(lambda name: name != "inputs")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
paths = st.lists(st.text(alphabet="abcXYZ019_", min_size=1), max_size=3).map(tuple)
arguments = st.dictionaries(
    st.text(min_size=1, max_size=6),
    values.map(Literal) | st.builds(Ref, names | st.just("inputs"), paths),
    max_size=3,
)
tools = st.from_regex(r"[a-z]{1,5}/[a-z_]{1,8}", fullmatch=True)
nodes = st.builds(ToolNode, names, tools, arguments) | st.builds(OutputNode, names, st.text(), arguments)
workflows = st.builds(
    Workflow,
    name=names,
    description=st.text(),
    nodes=st.lists(nodes, max_size=5, unique_by=lambda node: node.id).map(tuple),
    inputs=st.dictionaries(names, st.just({"type": "string"}), max_size=2),
    trigger=st.none() | st.just("^(?P<x>.*)$"),
)


@settings(max_examples=40)
@given(workflows)
def test_reading_what_was_written_gives_the_same_graph(workflow: Workflow) -> None:
    data = json.loads(json.dumps(to_json(workflow)))
    assert canonical(from_json(data)) == canonical(workflow)
    assert Draft202012Validator(SCHEMA).is_valid(data)


@settings(max_examples=30)
@given(workflows, st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_the_order_of_nodes(workflow: Workflow, random: Any) -> None:
    shuffled = list(workflow.nodes)
    random.shuffle(shuffled)
    other = Workflow(workflow.name, workflow.description, tuple(shuffled), workflow.inputs, workflow.trigger)
    assert other.digest == workflow.digest


@settings(max_examples=60)
@given(workflows, st.data())
def test_the_reader_refuses_exactly_what_the_schema_refuses(workflow: Workflow, data: st.DataObject) -> None:
    table = json.loads(json.dumps(to_json(workflow)))
    key = data.draw(st.sampled_from(sorted(table)))
    table[key] = data.draw(values)
    if key == "trigger":
        return
    if Draft202012Validator(SCHEMA).is_valid(table):
        from_json(table)
    else:
        with pytest.raises(GraphError):
            from_json(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": 2}, "v: expected 1"),
        ({"extra": 1}, "extra: unknown key"),
        ({"trigger": "("}, "trigger: not a regular expression"),
        ({"nodes": [{"id": "a", "kind": "code"}]}, "nodes[0].kind"),
        ({"nodes": [{"id": "a", "kind": "tool", "tool": "nope"}]}, "expected server/tool"),
        ({"nodes": [{"id": "inputs", "kind": "output", "text": ""}]}, "is the request's"),
        ({"nodes": [{"id": "a", "kind": "output", "text": "", "values": {"x": {}}}]}, "nodes[0].values.x"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, object], message: str) -> None:
    data = {"v": 1, "name": "x", "description": "", "nodes": []} | change
    with pytest.raises(GraphError) as caught:
        from_json(data)
    assert message in str(caught.value)


def test_shipped_workflows_meet_the_published_schema() -> None:
    assert len(library()) == len(list(LIBRARY.glob("*.json"))) >= 2
    for path in LIBRARY.glob("*.json"):
        Draft202012Validator(SCHEMA).validate(json.loads(path.read_text()))
