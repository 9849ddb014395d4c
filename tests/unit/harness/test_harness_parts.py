"""The parts of the service that need no network: settings, state, events, wire formats."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harness.agent import new_messages
from harness.app import BadRequest, frames, read_json, read_messages
from harness.events import EventLog, TurnLog, ulid
from harness.mcp import _event_data
from harness.memory import Effect, Memory, StateError, open_memory
from harness.model import parse
from harness.settings import POLICY_FILE, SettingsError, ToolPolicy, read_environment, read_policy
from harness.tools import by_model_name, definitions
from harness.turn import Reply
from workflows.catalog import ToolSpec, catalog
from workflows.results import read_result

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schemas/event.schema.json").read_text())


# --- settings


def test_environment(tmp_path: Path) -> None:
    env = {"AGENT_SOCKET": "/a", "STATE_DIR": str(tmp_path), "TOOL_SERVERS": "b, a,,b", "INSTANCE_EPOCH": "7"}
    settings = read_environment(env)
    assert (settings.tool_servers, settings.epoch, settings.gateway_socket) == (("a", "b"), 7, None)
    with pytest.raises(SettingsError, match="STATE_DIR"):
        read_environment({"AGENT_SOCKET": "/a"})
    with pytest.raises(SettingsError, match="INSTANCE_EPOCH"):
        read_environment(env | {"INSTANCE_EPOCH": "x"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"limit": {}}',
        '{"limits": {"rouns": 1}}',
        '{"tools": {"denny": []}}',
        '{"tools": 3}',
        '{"planning": {"draft": 2}}',
    ],
)
def test_a_policy_that_means_nothing_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"policy\.json"):
        read_policy(path)


def test_the_first_fitting_pattern_sets_the_timeout() -> None:
    policy = ToolPolicy(timeouts={"a/slow_*": 9, "a/*": 3}, timeout_seconds=1)
    assert [policy.timeout(tool) for tool in ("a/slow_x", "a/x", "b/x")] == [9, 3, 1]
    assert read_policy(POLICY_FILE).tools.timeout("time/convert_time") == 5


# --- state


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    opened = open_memory(tmp_path)
    yield opened
    opened.close()


def effect(request_id: str, session: str = "s", **more: Any) -> Effect:
    return Effect(request_id, session, 1.0, Reply(200, {"id": request_id}), **more)


def test_a_turn_is_applied_whole_and_sessions_do_not_see_each_other(memory: Memory) -> None:
    turns = [
        [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(3)
    ]
    for number, messages in enumerate(turns):
        memory.commit(effect(f"r{number}", messages=messages, settings={"units": str(number)}, tokens=5))
    memory.commit(effect("other", "t", note="mine"))
    assert memory.history("s", 2) == [*turns[1], *turns[2]]
    assert memory.settings("s") == {"units": "2"}
    assert memory.tokens("s") == 15
    assert (memory.notes("s"), memory.notes("t"), memory.settings("t")) == ((), ("mine",), {})
    assert memory.reply("r1") == Reply(200, {"id": "r1"})
    assert memory.session_of("other") == "t"


def test_a_second_effect_of_a_request_id_leaves_nothing(memory: Memory) -> None:
    memory.commit(effect("r", messages=[{"role": "user", "content": "once"}]))
    with pytest.raises(Exception, match="UNIQUE"):
        memory.commit(effect("r", messages=[{"role": "user", "content": "twice"}], tokens=9))
    assert (len(memory.history("s", 9)), memory.tokens("s")) == (1, 0)


def test_a_deleted_session_leaves_nothing(memory: Memory) -> None:
    memory.commit(effect("r", messages=[{"role": "user", "content": "x"}], settings={"a": "b"}, note="n"))
    memory.commit(effect("keep", "t"))
    assert memory.delete("s")
    assert not memory.delete("s")
    assert (memory.history("s", 9), memory.settings("s"), memory.notes("s")) == ([], {}, ())
    assert memory.reply("r") is None
    assert memory.reply("keep") is not None


def test_state_of_another_format_is_refused_in_one_line(tmp_path: Path) -> None:
    memory = open_memory(tmp_path)
    memory._db.execute("PRAGMA user_version = 9")
    memory.close()
    with pytest.raises(StateError, match="format 9"):
        open_memory(tmp_path).close()
    (tmp_path / "sessions.db").write_bytes(b"no database, but long enough to be looked at" * 30)
    for leftover in tmp_path.glob("sessions.db-*"):
        leftover.unlink()
    with pytest.raises(StateError, match="not a database"):
        open_memory(tmp_path).close()


# --- events


def test_events_meet_the_published_schema(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e")
    log.note("process_started", epoch=1, digest="", boot_nonce="")
    turn = TurnLog(log, "s", "r")
    turn.emit("turn_started", path="/v1/chat/completions", body={}, clock=1.0)
    turn.emit("turn_ended", status=200, reply={}, ms=1.5, timed_out=False)
    log.close()
    events = [json.loads(line) for line in (tmp_path / "e").read_text().splitlines()]
    validator = Draft202012Validator(SCHEMA)
    assert [event["seq"] for event in events] == [0, 0, 1]
    for event in events:
        validator.validate(event)
        for name in ("id", "ts", "kind", "seq", *(set(event) & {"status", "clock", "epoch"})):
            assert not validator.is_valid({key: value for key, value in event.items() if key != name}), name
    assert not validator.is_valid(events[1] | {"session": ""})
    assert not validator.is_valid(events[0] | {"kind": "lunch"})


def test_a_torn_line_stays_alone_and_a_rotated_log_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "e"
    path.write_bytes(b'{"v": 1, "id"')
    log = EventLog(path)
    log.note("process_stopped")
    assert path.read_bytes().startswith(b'{"v": 1, "id"\n{"v": 1')
    path.rename(tmp_path / "e.1")
    log.note("process_stopped")
    log.note("process_stopped")
    log.close()
    assert (len((tmp_path / "e.1").read_bytes().splitlines()), len(path.read_bytes().splitlines())) == (3, 1)


def test_a_full_disk_is_an_error_not_a_silent_loss() -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full")
    log = EventLog(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        log.note("process_stopped")
    log.close()


def test_ids_are_ulids_that_sort_by_time() -> None:
    ids = [ulid(moment) for moment in (1.0, 2.0, 2e9)]
    assert ids == sorted(ids)
    assert all(len(entry) == 26 for entry in ids)


# --- wire formats


def test_every_call_gets_an_id_of_its_own() -> None:
    calls = [
        {"id": "a", "function": {"name": "x", "arguments": "{}"}},
        {"id": "a", "function": {"name": "y"}},
    ]
    calls.append({"function": {"name": "z", "arguments": {"k": 1}}})
    reply = parse({"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    assert [(ask.call_id, ask.name, ask.arguments) for ask in reply.asks] == [
        ("a", "x", "{}"),
        ("a_1", "y", "{}"),
        ("call_2", "z", '{"k": 1}'),
    ]


@pytest.mark.parametrize(
    ("result", "content", "is_error"),
    [
        ({"content": [{"type": "text", "text": "fine"}]}, "fine", False),
        ({"content": [{"type": "text", "text": "no"}], "isError": True}, "no", True),
        ({"content": [{"type": "text", "text": '{"ok": false}'}]}, '{"ok": false}', True),
        ({"content": [{"type": "text", "text": '{"ok": true}'}]}, '{"ok": true}', False),
        ({"structuredContent": {"status": "error"}}, '{"status": "error"}', True),
        ({"content": [{"type": "image", "data": ""}, {"type": "text", "text": "a"}]}, "a", False),
        ({}, "", False),
    ],
)
def test_tool_results(result: dict[str, Any], content: str, is_error: bool) -> None:
    answer = read_result(result)
    assert (answer.content, answer.is_error) == (content, is_error)


def test_tools_have_names_that_models_accept() -> None:
    tools = catalog([ToolSpec("my.server", "a/b", "does", {"type": "object"}), ToolSpec("s", "t")])
    assert [entry["function"]["name"] for entry in definitions(tools)] == ["my_server__a_b", "s__t"]
    assert by_model_name(tools)["s__t"].key == "s/t"


@given(
    st.lists(
        st.lists(st.text(st.characters(blacklist_categories=["Cc", "Zl", "Zp"])), min_size=1), max_size=4
    )
)
def test_event_streams_are_read_back(events: list[list[str]]) -> None:
    lines = [line for event in events for line in (*(f"data: {data}" for data in event), "")]

    async def stream() -> AsyncIterator[str]:
        for line in [": comment", "event: message", *lines]:
            yield line

    async def collect() -> list[str]:
        return [data async for data in _event_data(stream())]

    coroutine = collect()
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    assert caught.value.value == ["\n".join(event) for event in events]


@given(st.text(max_size=300))
def test_a_stream_adds_up_to_the_reply(text: str) -> None:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    body = {"id": "i", "created": 1, "model": "m", "choices": [choice], "usage": {"total_tokens": 1}}
    sent = list(frames(body, {"stream_options": {"include_usage": True}}))
    assert [event.split("\n")[0] for event in sent] == [f"id: {n}" for n in range(1, len(sent) + 1)]
    assert sent[-1].endswith("\ndata: [DONE]\n\n")
    chunks = [json.loads(event.partition("\ndata: ")[2]) for event in sent[:-1]]
    choices = [chunk["choices"][0] for chunk in chunks[:-1]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == text
    assert [choice["finish_reason"] for choice in choices][-1] == "stop"
    assert chunks[-1]["usage"] == {"total_tokens": 1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "messages: expected a list"),
        ({"messages": []}, "messages: expected a list"),
        ({"messages": [{"role": "boss", "content": "x"}]}, r"messages\[0\].role"),
        ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content"),
        ({"messages": [{"role": "system", "content": "x"}]}, "message of the user"),
    ],
)
def test_a_body_that_is_no_turn_is_refused_with_its_place(body: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_messages(body)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        body = read_json(data)
    except BadRequest:
        return
    assert isinstance(body, dict)


def message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_a_client_that_resends_the_conversation_doubles_nothing() -> None:
    rules, first, answer, second = (
        message("system", "be brief"),
        message("user", "one"),
        message("assistant", "1"),
        message("user", "two"),
    )
    assert new_messages([], (rules, first)) == (rules, first)
    assert new_messages([rules, first, answer], (rules, first, answer, second)) == (second,)
    assert new_messages([rules, first, answer], (rules, second)) == (second,)
    assert new_messages([first, answer], (rules, second)) == (rules, second)
