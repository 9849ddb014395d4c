"""The adapters are pure: their command lines keep evidence and the operator's world out, their readers take anything."""

import json
import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evolve.coding.answers import trouble_of
from evolve.coding.clis import ADAPTERS
from evolve.coding.clis.adapter import KEY, MAX_TEXT, Adapter, Order
from trial.gateway import wire

ORDER = Order(
    program="/opt/cli",
    model="m-1",
    base="http://127.0.0.1:8080",
    repo="/work/repo",
    task_file="/work/task/TASK.md",
    prompt="Read the task.",
    likely=("-rf", "app.py"),
    session="s-1",
)
every = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=lambda adapter: adapter.kind)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
keys = st.sampled_from(
    (
        *(
            "type",
            "session_id",
            "thread_id",
            "sessionID",
            "result",
            "usage",
            "item",
            "text",
            "part",
            "tokens",
        ),
        *(
            "error",
            "message",
            "response",
            "stats",
            "models",
            "tools",
            "totalDecisions",
            "reject",
            "total_cost_usd",
        ),
        *("permission_denials", "is_error", "cost", "input_tokens", "output_tokens", "total", "input"),
    )
)
kinds = st.sampled_from(
    ("result", "thread.started", "item.completed", "turn.completed", "turn.failed", "error")
)
values = st.recursive(
    scalars | kinds, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5)
)
lines = st.dictionaries(keys, values, max_size=6).map(json.dumps)
outputs = st.lists(lines | st.text(max_size=40) | values.map(json.dumps), max_size=6).map("\n".join)


@settings(max_examples=200)
@example('{"type": "result", "usage": {"input_tokens": -9, "output_tokens": -9}, "total_cost_usd": -0.5}')
@given(outputs | st.binary(max_size=300).map(lambda noise: noise.decode("utf-8", "replace")))
def test_every_reader_takes_any_output(output: str) -> None:
    for adapter in ADAPTERS.values():
        said = adapter.read(output)
        assert len(said.text) <= MAX_TEXT, adapter.kind
        assert len(said.session) <= MAX_TEXT, adapter.kind
        assert said.tokens >= 0 <= said.usd_micros, adapter.kind
        assert said.hint in (None, "failed", "denied_edit"), adapter.kind


@every
def test_a_reader_is_quick_with_what_is_long_or_deep(adapter: Adapter) -> None:
    for noise in (
        "{" * 1_000_000,
        "[" * 1_000_000,
        "{\n" * 200_000,
        "x" * 8_000_000,
        '{"type":"result"}\n' * 50_000,
    ):
        adapter.read(noise)


@every
def test_a_command_line_names_the_gateway_and_no_real_key(adapter: Adapter) -> None:
    started = adapter.build(ORDER)
    assert started.argv[0] == ORDER.program
    assert ORDER.prompt in started.argv
    text = json.dumps([started.argv, dict(started.env), dict(started.files)])
    assert ORDER.base in text
    assert KEY in text
    assert "m-1" in text
    assert all(not path.startswith(("/", "..")) for path in started.files)
    assert ("s-1" in started.argv) == adapter.resumes
    assert adapter.build(ORDER) == started


def test_config_files_are_what_they_claim() -> None:
    hostile = Order(**{**vars(ORDER), "model": 'm"\n[x]\nweb_search = "live'})
    config = tomllib.loads(ADAPTERS["codex"].build(hostile).files[".codex/config.toml"])
    assert config["model"] == hostile.model
    assert config["web_search"] == "disabled"
    assert config["model_providers"]["gateway"]["base_url"] == "http://127.0.0.1:8080/v1"
    for kind, name in (("gemini_cli", ".gemini/settings.json"), ("qwen_code", ".qwen/settings.json")):
        settings = json.loads(ADAPTERS[kind].build(ORDER).files[name])
        assert settings["privacy"] == {"usageStatisticsEnabled": False}


CLAUDE = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "session_id": "s",
    "result": "Done.",
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 2},
    "total_cost_usd": 0.25,
    "permission_denials": [],
}
CODEX = (
    {"type": "thread.started", "thread_id": "t"},
    {"type": "item.completed", "item": {"type": "agent_message", "text": "Done."}},
    {"type": "turn.completed", "usage": {"input_tokens": 10, "output_tokens": 2}},
)


def test_what_they_say_is_read() -> None:
    said = ADAPTERS["claude_code"].read("noise\n" + json.dumps(CLAUDE))
    assert (said.text, said.session, said.tokens, said.usd_micros, said.hint) == (
        "Done.",
        "s",
        17,
        250_000,
        None,
    )
    denied = {**CLAUDE, "permission_denials": [{"tool_name": "Edit"}]}
    assert ADAPTERS["claude_code"].read(json.dumps(denied)).hint == "denied_edit"
    assert ADAPTERS["claude_code"].read(json.dumps({**CLAUDE, "is_error": True})).hint == "failed"
    said = ADAPTERS["codex"].read("\n".join(json.dumps(event) for event in CODEX))
    assert (said.text, said.session, said.tokens, said.hint) == ("Done.", "t", 12, None)
    gone = json.dumps({"type": "turn.failed", "error": {"message": "gone"}})
    assert ADAPTERS["codex"].read(gone).hint == "failed"
    told = {"session_id": "g", "response": "Done.", "stats": {"models": {"m": {"tokens": {"total": 12}}}}}
    said = ADAPTERS["gemini_cli"].read("Loaded.\n" + json.dumps(told, indent=2))
    assert (said.text, said.session, said.tokens, said.hint) == ("Done.", "g", 12, None)
    said = ADAPTERS["qwen_code"].read(json.dumps([{"type": "system"}, CLAUDE]))
    assert (said.text, said.session, said.tokens) == ("Done.", "s", 12)
    step = {
        "type": "step_finish",
        "sessionID": "o",
        "part": {"tokens": {"input": 10, "output": 2}, "cost": 0.5},
    }
    words = {"type": "text", "sessionID": "o", "part": {"text": "Done."}}
    said = ADAPTERS["opencode"].read("\n".join(map(json.dumps, (words, step))))
    assert (said.text, said.session, said.tokens, said.usd_micros) == ("Done.", "o", 12, 500_000)
    assert (
        ADAPTERS["mini_swe_agent"].read("mini-swe-agent (step 1):\nfoo\nmini-swe-agent (step 2):\nbar\n").text
        == "bar"
    )
    assert (
        ADAPTERS["aider"].read("Aider v1\nAdded a.py to the chat.\n\nWhich?\nTokens: 3 sent\n").text
        == "Which?"
    )


def frames(*data: object) -> dict[str, object]:
    return {"frames": [{"data": value, "at": 0.1} for value in data]}


@pytest.mark.parametrize(
    ("status", "response", "outcome"),
    [
        (200, {"choices": [{"finish_reason": "stop"}]}, None),
        (200, frames({"choices": [{"finish_reason": "stop"}]}, "[DONE]"), None),
        (200, frames({"type": "message_stop"}), None),
        (200, frames({"candidates": [{"finishReason": "STOP"}]}), None),
        (200, frames({"choices": [{"delta": {"content": "{'finish"}}]}), "failed"),
        (200, frames("!!! not json"), "failed"),
        (200, frames(), "failed"),
        (200, frames({"type": "message_delta", "delta": {"stop_reason": "refusal"}}, {"type": "message_stop"}), "refused"),
        (200, {"choices": [{"finish_reason": "content_filter"}]}, "refused"),
        (200, {"choices": [{"message": {"refusal": "No."}}]}, "refused"),
        (200, {"promptFeedback": {"blockReason": "OTHER"}}, "refused"),
        (200, {"choices": [{"message": {"content": "finish_reason: refusal", "refusal": None}}]}, None),
        (200, frames({"type": "error", "error": {"type": "overloaded_error"}}), "rate_limited"),
        (200, frames({"type": "response.failed", "response": {"error": {"code": "context_length_exceeded"}}}),
         "context_overflow"),
        (400, {"error": {"message": "prompt is too long: 3 tokens > 2 maximum"}}, "context_overflow"),
        (200, {"text": "<html>no model here"}, "failed"),
        (200, None, "failed"),
        (200, {"error": {"message": "no such model"}}, "failed"),
        (200, {"content": [], "stop_reason": "end_turn"}, None),
        (200, {"output": [], "status": "completed"}, None),
        (400, {"error": {"message": "no such model"}}, "failed"),
        (401, {}, "not_signed_in"),
        (402, {}, "out_of_budget"),
        (429, {}, "rate_limited"),
        (529, {}, "rate_limited"),
        (500, {"text": "x"}, "failed"),
    ],
)  # fmt: skip
def test_what_the_log_says_of_an_answer(status: int, response: object, outcome: str | None) -> None:
    found = trouble_of(status, response)
    assert (found.outcome if found else None) == outcome


@given(st.integers(100, 599), values | st.fixed_dictionaries({"frames": st.lists(values, max_size=4)}))
def test_any_recorded_answer_is_judged(status: int, response: object) -> None:
    found = trouble_of(status, response)
    assert found is None or found.reason


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent", "countTokens"])
def test_gemini_names_the_model_in_the_path(verb: str) -> None:
    path = f"/v1beta/models/m-1.5:{verb}"
    assert (wire.format_of(path), wire.model_of(path, {"model": "other"})) == ("gemini", "m-1.5")
    assert wire.format_of(path + "/../x") is None
    assert wire.format_of(f"/v1beta/models/a/b:{verb}") is None
