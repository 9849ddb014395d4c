"""Workflows as JSON: reading with every mistake named, writing, the canonical form and its digest."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from workflows.graph import ID_PATTERN, INPUTS, ITEM, NAME_PATTERN, REF_PATTERN, TOOL_PATTERN, Workflow

VERSION = 1
MOST_NAMED = 8
_ALWAYS = frozenset({"kind", "op", "name", "description", "inputs", "nodes"})
_TAGS = frozenset(
    [
        "tool",
        "model",
        "branch",
        "map",
        "merge",
        "validator",
        "output",
        "ref",
        "value",
        "compare",
        "exists",
        "of",
        "call",
        "ask",
    ]
)
_FORMS = {
    NAME_PATTERN: "a lower-case name",
    ID_PATTERN: f"a lower-case name other than {INPUTS!r} and {ITEM!r}, which are the request's and a map's",
    TOOL_PATTERN: "server/tool",
    REF_PATTERN: "source.path",
}
_OF_VARIANTS = frozenset({"nodes", "requires", "ensures", "of", "arguments", "values"})
_VARIANTS = frozenset({"over", "each", "value", "when", "left", "right", "fallback"})


class GraphError(ValueError):
    """The JSON is no workflow; the message names each place."""


def from_json(data: object) -> Workflow:
    """Raises GraphError."""
    if not isinstance(data, dict):
        raise GraphError(f"workflow: expected an object, found {type(data).__name__}")
    version, table = data.get("v"), {key: value for key, value in data.items() if key != "v"}
    if isinstance(version, bool) or version != VERSION:
        raise GraphError(f"v: expected {VERSION}, found {version!r}")
    try:
        text = json.dumps(table, allow_nan=False)
        workflow = _adapter().validate_json(text)
    except ValidationError as error:
        raise GraphError(_named(error)) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise GraphError(f"workflow: not JSON: {error}") from None
    if workflow.trigger is not None:
        try:
            re.compile(workflow.trigger)
        except (re.error, OverflowError, RecursionError) as error:
            raise GraphError(f"trigger: not a regular expression: {error}") from None
    return workflow


def to_json(workflow: Workflow) -> dict[str, object]:
    """Steps sorted by id; what has its default is left out."""
    table = {"v": VERSION, **_plain(workflow)}
    table["nodes"] = [_plain(node) for node in sorted(workflow.nodes, key=lambda node: node.id)]
    return table


def canonical(workflow: Workflow) -> bytes:
    """The bytes that are hashed: sorted keys and steps, no spaces, ASCII."""
    return _bytes(to_json(workflow))


def digest(workflow: Workflow) -> str:
    return "sha256:" + hashlib.sha256(canonical(workflow)).hexdigest()


def json_schema() -> dict[str, Any]:
    """The published schema of a workflow."""
    schema = _adapter().json_schema()
    properties = {"v": {"const": VERSION}, **schema["properties"]}
    properties["inputs"] |= {"additionalProperties": False}
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "workflow.schema.json",
        "title": "workflow",
        "description": "A typed tool workflow: data, never code. The order of nodes means nothing; references decide.",
    }
    return {**schema, **head, "properties": properties, "required": ["v", *schema["required"]]}


@cache
def _adapter() -> TypeAdapter[Workflow]:
    return TypeAdapter(Workflow)


def _bytes(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            name: _plain(found)
            for name, default in _defaults(type(value))
            if (found := getattr(value, name)) != default or name in _ALWAYS
        }
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


@cache
def _defaults(kind: Any) -> tuple[tuple[str, object], ...]:
    """Each field with what it is when nobody says."""
    return tuple(
        (field.name, field.default_factory() if callable(field.default_factory) else field.default)
        for field in fields(kind)
    )


def _named(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    lines = [_said(problem) for problem in problems[:MOST_NAMED]]
    more = len(problems) - len(lines)
    return "; ".join([*lines, *([f"and {more} more"] if more else [])])


def _said(problem: ErrorDetails) -> str:
    place, kind, context = _place(problem["loc"]), problem["type"], problem.get("ctx", {})
    if kind == "unexpected_keyword_argument":
        return f"{place}: unknown key"
    if kind == "missing":
        return f"{place}: missing"
    if kind == "union_tag_invalid":
        return f"{place}.kind: expected {context['expected_tags']}, found {context['tag']!r}"
    if kind == "string_pattern_mismatch":
        return f"{place}: expected {_FORMS[context['pattern']]}, found {problem['input']!r:.80}"
    return f"{place}: {problem['msg'].replace('Input should be', 'expected')}"


def _place(location: tuple[int | str, ...]) -> str:
    """`nodes[0].arguments.path`: without the names of variants, which stand behind the place that holds one. On one line,
    though a key may be any text."""
    text, behind, dropped = "", ("", ""), False
    for part in location:
        dropped = not dropped and part in _TAGS and _holds_variant(*behind)
        if dropped:
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        behind = (behind[1], str(part))
    return (text if text.isprintable() else repr(text)[1:-1]) or "workflow"


def _holds_variant(holder: str, place: str) -> bool:
    return holder in _OF_VARIANTS or place in _VARIANTS
