"""The form of a reply: which places it has and of what kind, never its words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial.shape import client_calls, offered_tools, shape_of, used_tokens, words_of
from trial.turns import ReplayedTurn

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def turn(reply: object, **fields: object) -> ReplayedTurn:
    return ReplayedTurn("r-1", 200, reply, {"content-type": "application/json; charset=utf-8"}, **fields)  # type: ignore[arg-type]


def test_words_do_not_count_and_places_and_kinds_do() -> None:
    one = shape_of(turn({"id": "chat-r-1", "choices": [{"text": "hello", "index": 0}]}))
    assert one == shape_of(
        turn({"id": "r-1", "choices": [{"text": "bye", "index": 1.0}, {"text": "", "index": 2}]})
    )
    assert one - shape_of(turn({"id": "chat-0", "choices": [{"text": "hello", "index": 0}]})) == {
        "reply.id: the request's id"
    }
    assert one - shape_of(turn({"id": "r-1", "choices": [{"text": ["hello"], "index": 0}]})) == {
        "reply.choices[].text: str"
    }


def test_a_stream_is_its_frames_and_its_last_mark() -> None:
    frames = [json.dumps({"delta": word}) for word in ("a", "b")]
    whole = shape_of(turn([*frames, "[DONE]"]))
    assert whole - shape_of(turn(frames)) == {"reply[]: [DONE]"}


def test_status_media_type_and_headers_count_and_the_connection_does_not() -> None:
    got = ReplayedTurn("r", 206, "", {"content-type": "text/plain", "x-session": "s", "date": "now"})
    assert {"status 206", "media type text/plain", "header x-session"} <= shape_of(got)
    assert "header date" not in shape_of(got)


def test_what_is_nested_too_deep_ends() -> None:
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    assert shape_of(turn(deep))
    assert shape_of(turn("[" * 100_000 + '{"'))
    assert shape_of(turn('{"a":' * 100_000))
    assert len(words_of(turn(deep))) <= 32


@given(JSON)
def test_a_reply_has_the_form_that_it_has(reply: object) -> None:
    assert shape_of(turn(reply)) == shape_of(turn(json.loads(json.dumps(reply))))


BLOCK = {"type": "tool_use", "id": "1", "name": "wipe", "input": {}}
ITEM = {"type": "function_call", "call_id": "1", "name": "wipe", "arguments": "{}"}
FUNCTION = {"name": "wipe", "arguments": "{}"}
TOOL_CALL = {"id": "1", "type": "function", "function": FUNCTION}
CONTINUED = {"index": 0, "function": {"arguments": "}"}}
GEMINI: dict[str, Any] = {
    "candidates": [{"content": {"parts": [{"text": "a"}, {"functionCall": {"name": "wipe"}}]}}]
}


def chat(**message: object) -> dict[str, object]:
    return {"choices": [{"message": {"content": "yes", **message}}]}


def delta(**said: object) -> dict[str, object]:
    return {"choices": [{"delta": said}]}


@pytest.mark.parametrize(
    "reply",
    [
        chat(tool_calls=[TOOL_CALL]),
        chat(tool_calls=[{"type": "custom", "custom": {"name": "wipe", "input": ""}}]),
        chat(function_call=FUNCTION),
        chat(content=[{"type": "text", "text": "yes"}, BLOCK]),
        [delta(content="yes"), delta(tool_calls=[TOOL_CALL]), delta(tool_calls=[CONTINUED]), "[DONE]"],
        [delta(function_call=FUNCTION)],
        [json.dumps(delta(function_call=FUNCTION))],
        {"content": [{"type": "text", "text": "yes"}, BLOCK]},
        [{"type": "content_block_start", "index": 1, "content_block": BLOCK}],
        [{"type": "message_start", "message": {"content": [BLOCK]}}],
        {"output": [{"type": "message"}, ITEM]},
        [{"type": "response.output_item.added", "item": ITEM}],
        [{"type": "response.completed", "response": {"output": [ITEM]}}],
        GEMINI,
        [GEMINI],
    ],
)
def test_a_call_for_the_client_is_found_in_every_format(reply: object) -> None:
    assert client_calls(reply) == {"wipe"}


@pytest.mark.parametrize(
    "reply",
    [
        None,
        "words",
        chat(),
        chat(tool_calls=None),
        chat(tool_calls=[]),
        {"output": [{"type": "web_search_call", "id": "1"}, {"type": "mcp_call", "name": "look"}]},
        {"content": [{"type": "server_tool_use", "name": "search"}]},
        {"choices": [{"message": {"content": "yes"}}], "trace": {"tool_calls": [TOOL_CALL]}},
    ],
)
def test_what_the_service_called_itself_is_not_for_the_client(reply: object) -> None:
    assert client_calls(reply) == set()


def test_a_call_without_a_name_is_one_and_a_built_in_has_its_type_s() -> None:
    assert client_calls(chat(tool_calls=[{"id": "1"}])) == {""}
    assert client_calls(chat(tool_calls="wipe")) == {""}
    assert client_calls({"output": [{"type": "local_shell_call"}]}) == {"local_shell"}
    assert offered_tools({"tools": [{"type": "local_shell"}]}) == {"local_shell"}


def test_what_a_client_offers_is_read_in_every_format() -> None:
    declared = {"functionDeclarations": [{"name": "d"}, {"name": "e"}]}
    tools = [{"type": "function", "function": {"name": "a"}}, {"name": "b", "input_schema": {}}, declared]
    assert {"a", "b", "c", "d", "e"} <= offered_tools({"tools": tools, "functions": [{"name": "c"}]})
    assert offered_tools({"messages": []}) == set()


def test_the_largest_number_under_usage_is_what_is_charged() -> None:
    assert used_tokens({"usage": {"prompt_tokens": 2, "details": {"cached": 9}}, "created": 10**9}) == 9
    assert used_tokens([{"type": "message_start", "message": {"usage": {"input_tokens": 7}}}, "[DONE]"]) == 7
    assert used_tokens({"response": {"usage": {"total_tokens": 5}}}) == 5
    assert used_tokens({"usageMetadata": {"totalTokenCount": 4}}) == 4
    assert used_tokens({"usage": {"a": True, "b": float("nan"), "c": None}}) == 0
    assert used_tokens({"usage": {"a": float("inf")}}) == used_tokens({"usage": {"a": -(10**400)}}) > 10**9
    assert used_tokens("words") == used_tokens(None) == 0


named = st.sampled_from(
    [
        "choices",
        "message",
        "delta",
        "tool_calls",
        "function",
        "name",
        "type",
        "content",
        "output",
        "item",
        "usage",
    ]
)
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["tool_use", "{", '{"a": 1}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(named, inner, max_size=3),
    max_leaves=12,
)


@given(nested)
def test_whatever_a_service_replies_is_read(reply: Any) -> None:
    assert all(isinstance(name, str) for name in client_calls(reply))
    assert used_tokens(reply) >= 0
    assert isinstance(offered_tools({"tools": reply}), frozenset)


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_calls_are_the_same_in_a_stream_cut_anywhere(first: list[str], then: list[str]) -> None:
    calls = [{"index": i, "function": {"name": name}} for i, name in enumerate((*first, *then))]
    cut = [
        delta(tool_calls=calls[: len(first)]),
        delta(tool_calls=[CONTINUED] if calls else []),
        delta(tool_calls=calls[len(first) :]),
    ]
    assert client_calls(cut) == client_calls(chat(tool_calls=calls)) == {*first, *then}


def test_what_names_the_session_is_told_from_other_words() -> None:
    got = ReplayedTurn("r", 200, {"session": "ann"}, {"x-session": "ann", "x-request-id": "r"})
    whole = shape_of(got, "ann")
    assert {"reply.session: the request's session", "header x-session: the request's session"} <= whole
    assert "header x-request-id: the request's id" in whole
    assert "header x-session: the request's session" not in shape_of(got, "bob")


def test_the_words_of_the_interface_are_those_beside_the_answer() -> None:
    reply = {
        "id": "chat-r-1",
        "model": "tiny",
        "build": "0123456789abcdef",
        "choices": [{"message": {"content": "hello there"}, "finish_reason": "stop", "said": "hello"}],
        "cut": False,
        "count": 3,
        "session": "ann",
    }
    assert words_of(turn(reply), "ann") == {
        "reply.model": frozenset({"tiny"}),
        "reply.choices[].finish_reason": frozenset({"stop"}),
        "reply.cut": frozenset({"False"}),
        "the length of reply.choices": frozenset({"1"}),
    }


@given(JSON)
def test_no_reply_breaks_the_reading_of_words(reply: object) -> None:
    assert words_of(turn(reply)) == words_of(turn(json.loads(json.dumps(reply))))
