"""Workflows are data: what is read is what is written, and equal graphs have equal digests."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from graphs import values, workflows
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflows.codec import GraphError, canonical, digest, from_json, json_schema, to_json
from workflows.graph import Workflow
from workflows.shipped import LIBRARY, library

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schemas/workflow.schema.json").read_text())


@settings(max_examples=20, deadline=None)
@given(workflows)
def test_reading_what_was_written_gives_the_same_graph(workflow: Workflow) -> None:
    data = json.loads(json.dumps(to_json(workflow)))
    assert canonical(from_json(data)) == canonical(workflow)
    assert Draft202012Validator(SCHEMA).is_valid(data)


@settings(max_examples=15, deadline=None)
@given(workflows, st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_the_order_of_nodes(workflow: Workflow, random: Any) -> None:
    shuffled = list(workflow.nodes)
    random.shuffle(shuffled)
    assert digest(replace(workflow, nodes=tuple(shuffled))) == digest(workflow)


@settings(max_examples=25, deadline=None)
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
        ({"ex\ntra": 1}, "ex\\ntra: unknown key"),
        ({"trigger": "("}, "trigger: not a regular expression"),
        ({"nodes": [{"id": "a", "kind": "code"}]}, "nodes[0].kind"),
        ({"nodes": [{"id": "a", "kind": "tool", "tool": "nope"}]}, "expected server/tool"),
        ({"nodes": [{"id": "inputs", "kind": "output", "text": ""}]}, "other than 'inputs'"),
        ({"nodes": [{"id": "a", "kind": "output", "text": "", "values": {"x": {}}}]}, "nodes[0].values.x"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, object], message: str) -> None:
    data = {"v": 1, "name": "x", "description": "", "nodes": []} | change
    with pytest.raises(GraphError) as caught:
        from_json(data)
    assert message in str(caught.value)


def test_the_published_schema_is_the_readers_own() -> None:
    assert json.loads(json.dumps(json_schema())) == SCHEMA


def test_shipped_workflows_meet_the_published_schema() -> None:
    assert len(library()) == len(list(LIBRARY.glob("*.json"))) >= 2
    for path in LIBRARY.glob("*.json"):
        Draft202012Validator(SCHEMA).validate(json.loads(path.read_text()))
