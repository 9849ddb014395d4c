"""Ports: what one gives and another takes, through references into definitions, also circular ones; and types learnt
from results."""

from typing import Any

import pytest
from graphs import values
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflows.learn import learn
from workflows.types import Schema, allowed, at_path, misfit, property_schema

TREE: Schema = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["name"],
        }
    },
}
CIRCLE: Schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}


def test_a_recursive_schema_is_followed_as_far_as_the_path_goes() -> None:
    found = at_path(TREE, ("kids", "0", "kids", "3", "name"))
    assert found is not None
    assert allowed(found) == {"string"}
    assert at_path(TREE, ("kids", "0", "nmae")) is None
    assert misfit(TREE, TREE) is None
    assert misfit(CIRCLE, TREE) is None
    assert at_path(CIRCLE, ("x",)) == {}


@pytest.mark.parametrize(
    ("found", "wanted", "where"),
    [
        ({"type": "string"}, {"type": "integer"}, ()),
        ({"type": ["string", "null"]}, {"type": "string"}, ()),
        ({"type": "integer"}, {"type": "number"}, None),
        ({"type": "number"}, {"type": "integer"}, ()),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "string"}, ()),
        ({}, {"type": "string"}, None),
        (
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"type": "integer"}},
            ("*",),
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}},
            {"type": "object", "properties": {"a": {"type": "integer"}}},
            ("a",),
        ),
        (
            {"type": "object", "properties": {"a": {}}},
            {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
            ("b",),
        ),
        ({"type": "object"}, {"type": "object", "required": ["b"]}, None),
        ({"const": 3}, {"enum": [1, "x"]}, None),
        ({"const": []}, {"enum": [1, "x"]}, ()),
    ],
)
def test_what_does_not_fit_is_named(found: Schema, wanted: Schema, where: tuple[str, ...] | None) -> None:
    wrong = misfit(found, wanted)
    assert (wrong and wrong[0]) == where


def test_arguments_of_a_schema_that_says_little() -> None:
    assert property_schema({}, "x") == {}
    assert property_schema({"properties": {}}, "x") is None
    assert property_schema({"additionalProperties": {"type": "string"}}, "x") == {"type": "string"}
    assert property_schema({"properties": {"x": True}}, "x") == {}


@settings(max_examples=40, deadline=None)
@given(st.lists(values, min_size=1, max_size=4))
def test_every_result_that_was_seen_meets_what_was_learnt(seen: list[Any]) -> None:
    schema: Schema | None = None
    for value in seen:
        schema = learn(schema, value)
    for value in seen:
        Draft202012Validator(schema).validate(value)  # type: ignore[arg-type]
        assert learn(schema, value) == schema
        one = learn(None, value)
        assert misfit(one, schema or {}) is None


def test_what_was_never_seen_is_no_field() -> None:
    schema = learn(learn(None, {"rows": [{"id": 1}]}), {"rows": [{"id": 2, "tag": None}]})
    assert at_path(schema, ("rows", "0", "tag")) == {"type": "null"}
    assert at_path(schema, ("rows", "0", "name")) is None
    assert learn(None, {str(i): i for i in range(100)})["additionalProperties"] is True
