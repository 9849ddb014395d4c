"""Results of tool calls: what they say, and whether they say that the call failed, without false alarms."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflows.results import FAILURES_OF, read_result, says_failure

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "result", "ok", "text", "type", "uri"]) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


@pytest.mark.parametrize(
    "value",
    [
        {"ok": False},
        {"success": False, "data": [1]},
        {"status": "error"},
        {"isError": True, "content": []},
        {"error": "no such table"},
        {"error": {"code": -32602, "message": "no"}},
        {"error": True, "message": "no"},
        {"error": "Not Found", "status": 404, "path": "/x", "timestamp": "2026-01-01"},
        {"error": "no", "data": None, "rows": []},
        {"errors": [{"message": "no"}], "data": None},
        {"result": {"ok": False}},
        {"result": {"error": "no"}},
    ],
)
def test_a_failure_dressed_as_success(value: dict[str, Any]) -> None:
    assert says_failure(value)
    assert read_result(text(json.dumps(value))).is_error
    assert read_result({"structuredContent": value}).is_error


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"ok": True},
        {"error": None, "rows": [1]},
        {"error": ""},
        {"error": 0},
        {"error": False, "message": "fine"},
        {"error": "exit 1", "job": "build", "steps": 3},
        {"status": "failed", "job": "build"},
        {"errors": ["line 3: missing comma"]},
        {"errors": [], "data": None},
        {"errors": [{"message": "line 3"}], "data": {"file": "a"}},
        {"errors": [{"message": "line 3"}]},
        {"result": {"rows": []}},
        {"result": {"ok": False}, "more": 1},
        [{"error": "no"}],
        "Error: it failed",
        "Traceback (most recent call last):",
    ],
)
def test_what_is_data_is_no_failure(value: Any) -> None:
    assert not says_failure(value)
    assert not read_result(text(value if isinstance(value, str) else json.dumps(value))).is_error


@pytest.mark.parametrize(
    ("words", "failures", "is_error"),
    [
        ("Error executing tool read: boom", (), True),
        ("Error executing tool write: boom", (), False),
        ("Unknown tool: read", (), True),
        ("MCP error -32602: no", (), True),
        ("MCP error codes are listed below", (), False),
        ("Error: no such table: x", (), False),
        ("Error: no such table: x", FAILURES_OF["sqlite"], True),
        ("[{'Error: ': 1}]", FAILURES_OF["sqlite"], False),
    ],
)
def test_of_texts_only_what_frameworks_and_known_servers_write(
    words: str, failures: Any, is_error: bool
) -> None:
    assert read_result(text(words), tool="read", failures=failures).is_error is is_error
    wrapped = {**text(words), "structuredContent": {"result": words}}
    assert read_result(wrapped, tool="read", failures=failures).is_error is is_error


def test_values() -> None:
    assert read_result(text('{"a": [1]}')).value == {"a": [1]}
    assert read_result(text("17")).value == "17"
    assert read_result(text("[" * 100_000)).value == "[" * 100_000
    assert read_result({**text("x"), "structuredContent": {"y": 1}}).value == {"y": 1}
    resource = {"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}
    link = {"type": "resource_link", "uri": "file:///b", "name": "b"}
    assert read_result({"content": [resource, link]}).content == "inside\nfile:///b"
    picture = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    assert read_result({"content": [picture]}).value == [picture]


@given(JSON)
@example({"content": [{"type": "text", "text": 3}, {"type": "resource", "resource": {"text": None}}, 3]})
@example({"content": "no list", "structuredContent": 3})
def test_any_result_can_be_read(result: Any) -> None:
    answer = read_result(result if isinstance(result, dict) else {"content": result}, tool="x")
    assert isinstance(answer.content, str)
    assert isinstance(answer.is_error, bool)


@given(JSON)
def test_a_value_comes_through_as_it_was_sent(value: Any) -> None:
    found = read_result(text(json.dumps(value))).value
    assert found == (value if isinstance(value, dict | list) else json.dumps(value))
