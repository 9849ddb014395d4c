"""The planner's prompt keeps its form whatever tools say, and what a model answers is read as a plan or refused."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.catalog import Catalog, ToolSpec, catalog
from workflows.graph import Ref, ToolNode
from workflows.model import ChatModel
from workflows.planner import (
    AGAIN,
    FAILED,
    LONGEST_ANSWER,
    SCHEMA,
    Failure,
    Planned,
    Planner,
    PlannerFailed,
    messages,
    read_object,
    shown_tools,
)
from workflows.signature import shown_type, signature

READ = ToolSpec(
    "files",
    "read",
    "Read a file.\nReally.",
    {
        "type": "object",
        "properties": {"head": {"type": "number"}, "path": {"type": "string"}},
        "required": ["path"],
    },
    {"type": "object", "properties": {"content": {"type": "string"}}},
)
TOOLS = catalog([READ, ToolSpec("clock", "now", "The time")])
PLAN = {"steps": [{"id": "s1", "tool": "files/read", "arguments": {"path": "a"}}], "answer": "{s1.content}"}


def planned(answer: str, tools: Catalog = TOOLS, **more: Any) -> tuple[Planned, dict[str, Any]]:
    asked: list[dict[str, Any]] = []

    def reply(request: httpx2.Request) -> httpx2.Response:
        asked.append(json.loads(request.content))
        choice = {"message": {"content": answer}, "finish_reason": "stop"}
        return httpx2.Response(
            200, json={"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
        )

    async def ask() -> Planned:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(reply)) as http:
            return await Planner(ChatModel(http, "http://x/v1", "m"), tools).plan("read a file", **more)

    return asyncio.run(ask()), asked[0]


def test_a_plan_is_asked_for_by_schema_and_read() -> None:
    found, asked = planned(json.dumps(PLAN), seed=7)
    node = found.workflow.nodes[0]
    assert isinstance(node, ToolNode)
    assert node.tool == "files/read"
    assert found.plan == PLAN
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA
    assert asked["seed"] == 7
    [system, user] = asked["messages"]
    assert system["role"] == "system"
    assert user["content"].splitlines() == [
        "Tools:",
        "- files/read(path: string, head?: number) -> {content: string}: Read a file. Really.",
        'Example: {"steps": [{"id": "s1", "tool": "files/read", "arguments": {"path": "…"}}], "answer": "{s1}"}',
        "Request: read a file",
    ]


def test_a_second_try_sees_the_first_and_its_errors() -> None:
    last = Failure("I would read it.", ["s1: no such file\nreally", "s2: " + "x" * 1000])
    _, asked = planned(json.dumps(PLAN), last=last)
    [_, _, said, why] = asked["messages"]
    assert said == {"role": "assistant", "content": "I would read it."}
    lines = why["content"].splitlines()
    assert lines[0] == FAILED
    assert lines[1] == "- s1: no such file really"
    assert len(lines[2]) < 310
    assert lines[3:] == [AGAIN]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PLAN),
        f"```json\n{json.dumps(PLAN, indent=2)}\n```",
        f"Sure! Here {{s1}} is it: {json.dumps(PLAN)} or not {{",
    ],
)
def test_one_object_may_stand_in_prose(text: str) -> None:
    assert read_object(text) == PLAN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON object"),
        ("I would read the file first.", "no JSON object"),
        ('{"steps": [', "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ('{"a": NaN}', "no JSON object"),
        ('{"a": 1} or {"b": 2}', "2 JSON objects"),
        ("{" * 3000, "no JSON object"),
        ('{"a":' * 5000, "no JSON object"),
        (" " * (LONGEST_ANSWER + 1), "longer than"),
    ],
)
def test_what_is_not_one_object_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlannerFailed, match=message) as found:
        read_object(text)
    assert found.value.text == text


def test_an_object_that_is_no_plan_is_refused_with_its_place() -> None:
    with pytest.raises(PlannerFailed, match=r"no plan: steps\[0\]"):
        planned('{"steps": ["read"], "answer": ""}')


def test_a_model_that_fails_is_a_planner_that_fails() -> None:
    async def ask() -> None:
        transport = httpx2.MockTransport(lambda request: httpx2.Response(500))
        async with httpx2.AsyncClient(transport=transport) as http:
            await Planner(ChatModel(http, "http://x/v1", "m"), TOOLS).plan("read")

    with pytest.raises(PlannerFailed, match="status 500"):
        asyncio.run(ask())


def test_few_tools_are_shown_and_some_where_no_word_is_shared() -> None:
    many = catalog([ToolSpec("s", f"read{n:03}", "read a file") for n in range(300)])
    assert len(shown_tools(many, "read a file")) == 12
    assert [spec.key for spec in shown_tools(TOOLS, "zzz", 1)] == ["clock/now"]
    assert shown_tools(catalog([]), "read") == []
    assert len(messages("read", [], catalog([]))) == 2


strange = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=400)


@settings(max_examples=30, deadline=None)
@given(strange, strange, st.dictionaries(strange, st.just({"type": "string", "enum": ["a\nb"]}), max_size=30))
def test_a_hostile_tool_gets_one_short_line(name: str, said: str, properties: dict[str, object]) -> None:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    spec = ToolSpec("s", name, said, schema, schema)
    line = signature(spec, schema)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line) < 12 * (40 + 160 + 4) + 500
    asked = messages("the request", [spec], catalog([spec]))[1]["content"].splitlines()
    assert len(asked) == 4
    assert asked[-1] == "Request: the request"


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({}, "any"),
        ({"type": ["string", "null"]}, "null | string"),
        ({"enum": ["a", 1]}, "'a' | 1"),
        (
            {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "[{x: integer}]",
        ),
        ({"type": "object"}, "object"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
            "[[[[array]]]]",
        ),
    ],
)
def test_types_are_short(schema: dict[str, object], shown: str) -> None:
    assert shown_type(schema) == shown


def test_references_in_an_answer_are_references() -> None:
    found, _ = planned(json.dumps(PLAN))
    assert Ref("s1.content") in found.workflow.nodes[1].values.values()  # type: ignore[union-attr]
