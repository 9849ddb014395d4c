"""The parts of the servers' client that need no server: what a call's result comes to, schemas, and lines for people."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted

from workflows.callers import Checked
from workflows.calling import Outcome, ToolRequest
from workflows.catalog import ToolSpec, catalog
from workflows.schemas import broken, validator
from workflows.servers.exchange import judged
from workflows.servers.link import Limits, one_line
from workflows.servers.listing import relied_on

LIMITS = Limits(result_bytes=1000)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def text(words: str, **more: object) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}], **more}


def result(raw: dict[str, Any], output: dict[str, object] | None = None) -> Outcome:
    return judged(raw, "act", validator(output) if output is not None else None, ("Oops: ",), LIMITS)


def test_what_a_result_comes_to() -> None:
    number = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    assert result(text('{"a": 1}')) == Outcome({"a": 1})
    assert result(text("no", isError=True)) == Outcome("no", "no")
    assert result({"content": [], "isError": True}).error == "the tool failed, and says no more"
    assert result(text("Oops: no")).error == "Oops: no"
    assert result(text("Error executing tool act: no")).error == "Error executing tool act: no"
    assert result(text("", structuredContent={"x": 1}), number) == Outcome({"x": 1})
    assert result(text("no", isError=True), number) == Outcome(
        "no", "no"
    )  # a failure need not be of the type
    wrong = "its result is not of the type that the tool declares: "
    assert result(text("hi"), number) == Outcome(
        "hi", f"{wrong}there is no structured content", uncertain=True
    )
    found = result(text("", structuredContent={"y": 1}), number)
    assert found == Outcome({"y": 1}, f"{wrong}'x' is a required property", uncertain=True)
    found = result({"resultType": "input_required", "inputRequests": {}})
    assert (found.error, found.uncertain) == (
        "the tool asks for more input, and nobody is there to give it",
        False,
    )


def test_a_result_that_is_too_large_is_none_and_may_have_been_done() -> None:
    most = 1000 - len(json.dumps(text("")))
    assert result(text("x" * most)).error is None
    found = result(text("x" * (most + 1)))
    assert found == Outcome(
        None, "its result has 1001 bytes, and no more than 1000 are taken", uncertain=True
    )


def test_schemas_of_older_drafts_are_read_as_such() -> None:
    pair = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "items": [{"type": "string"}, {"type": "integer"}],
    }
    assert broken(pair) is None
    assert validator(pair).is_valid(["a", 1])
    assert not validator(pair).is_valid([1, "a"])
    assert broken({**pair, "$schema": 3}) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "banana"},
        {"properties": 3},
        {"pattern": "("},
        {"$ref": "http://127.0.0.1:9/x"},
        {"$ref": "#/nowhere"},
        {"items": 3},
    ],
)
def test_a_schema_that_is_none_leaves_the_arguments_to_the_tool(schema: dict[str, object]) -> None:
    spec = ToolSpec("s", "act", input_schema={"type": "object", "properties": {"x": schema}})
    caller = Checked(Scripted(lambda request: Outcome("called")), catalog([spec]))
    assert asyncio.run(caller.tool(ToolRequest("n", "", 1, "s/act", {"x": "("}))) == Outcome("called")


def test_output_schemas_that_are_none_are_left_out() -> None:
    good = ToolSpec("s", "good", output_schema={"type": "object"})
    bad = ToolSpec("s", "bad", input_schema={"type": 3}, output_schema={"type": "banana"})
    specs, notes = relied_on([good, bad])
    assert [spec.output_schema for spec in specs] == [{"type": "object"}, None]
    assert [note.partition(" is none:")[0] for note in notes] == [
        "bad: its input schema",
        "bad: its output schema",
    ]


@given(
    st.dictionaries(
        st.sampled_from(["$schema", "$ref", "type", "properties", "items", "pattern", "enum"]), JSON
    )
)
def test_any_schema_is_one_or_is_told_apart(schema: dict[str, Any]) -> None:
    if broken(schema) is None:
        validator(schema)


def test_a_line_for_people() -> None:
    assert one_line("a\n\tb\x1b[31m\u202e c") == "a b?[31m? c"
    assert one_line("abcdef", 3) == "abc…"
    assert one_line("") == ""
