"""What hooks decide, in which order, and that every decision is recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.events import HeldLog
from harness.guards import shipped_hooks
from harness.hooks import ALLOW, Chain, Change, Decision, Denied, Deny, Hook
from harness.settings import Limits, Policy, ToolPolicy, read_policy
from harness.turn import ModelReply, ModelRequest, ToolCall, ToolResult, TurnContext, TurnRequest, Usage
from workflows.catalog import Catalog, ToolSpec, catalog


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def emit(self, kind: str, **fields: object) -> None:
        self.events.append((kind, fields))

    def emit_at(self, ts: float, kind: str, fields: dict[str, object]) -> None:
        self.events.append((kind, fields))

    @property
    def decisions(self) -> list[tuple[str, str]]:
        return [(fields["name"], fields["decision"]) for _, fields in self.events]


def context(log: Log | None = None, tools: Catalog | None = None, **more: Any) -> TurnContext:
    return TurnContext("r1", "s1", 1.7e9, log or Log(), catalog=tools or Catalog(), **more)


def request(text: str, **settings: str) -> TurnRequest:
    return TurnRequest("r1", "s1", "/", 0.0, {}, ({"role": "user", "content": text},), settings)


def grow(amount: int) -> Callable[[TurnContext, int], Decision[int]]:
    return lambda _, value: Change(value * 10 + amount, f"added {amount}")


def test_hooks_are_asked_in_order_and_each_sees_what_the_one_before_made() -> None:
    log = Log()
    chain = Chain("tool", "before", (Hook("a", grow(1)), Hook("b", lambda _, v: ALLOW), Hook("c", grow(2))))
    assert chain.apply(context(log), 0, "call") == 12
    assert log.decisions == [("a", "change"), ("b", "allow"), ("c", "change")]
    assert all(
        f["call_id"] == "call" and f["point"] == "tool" and f["phase"] == "before" for _, f in log.events
    )


def test_a_denial_is_recorded_with_its_reason_and_ends_the_chain() -> None:
    log = Log()
    chain = Chain("turn", "before", (Hook("no", lambda _, v: Deny("because")), Hook("never", grow(1))))
    with pytest.raises(Denied, match="no: because"):
        chain.apply(context(log), 0)
    assert log.decisions == [("no", "deny")]
    assert log.events[0][1]["reason"] == "because"


POLICY = Policy(
    limits=Limits(input_chars=100, result_chars=10, reply_chars=10, session_tokens=50),
    tools=ToolPolicy(
        allow=("shop/*",),
        deny=("shop/delete_*",),
        bounds={"shop/buy": {"count": {"minimum": 1, "maximum": 5}}},
    ),
    redact={"key": r"sk-\w+"},
    session_settings={
        "units": {"enum": ["metric", "imperial"], "description": "measures"},
        "planning": {},
        "language": {},
    },
)
HOOKS = shipped_hooks(POLICY)
BUY = {
    "type": "object",
    "properties": {"count": {"type": "integer"}, "price": {"type": "number"}, "gift": {"type": "boolean"}},
    "required": ["count"],
}
TOOLS = catalog(
    [ToolSpec("shop", "buy", input_schema=BUY), ToolSpec("shop", "delete_all"), ToolSpec("x", "y")]
)


@pytest.mark.parametrize(
    ("key", "arguments", "reason"),
    [
        ("shop/buy", {"count": 3}, None),
        ("shop/buy", {"count": "4", "price": "2.5", "gift": "true"}, None),
        ("shop/buy", {"count": 6}, "argument count: 6 is out of bounds"),
        ("shop/buy", {"count": "6"}, "argument count: 6 is out of bounds"),
        ("shop/buy", {"count": "six"}, "argument count: 'six' is not of type 'integer'"),
        ("shop/buy", {}, "'count' is a required property"),
        ("shop/delete_all", {}, "shop/delete_all is forbidden"),
        ("x/y", {}, "x/y is not allowed"),
    ],
)
def test_tool_policy(key: str, arguments: dict[str, Any], reason: str | None) -> None:
    server, _, tool = key.partition("/")
    call = ToolCall("c", server, tool, arguments)
    if reason is None:
        assert HOOKS.before_tool.apply(context(tools=TOOLS), call, "c").arguments["count"] in (3, 4)
        return
    with pytest.raises(Denied) as caught:
        HOOKS.before_tool.apply(context(tools=TOOLS), call, "c")
    assert caught.value.reason == reason


def test_a_schema_that_points_out_of_itself_is_not_followed(tmp_path: Path) -> None:
    """It comes from a tool server: no file of ours and no address is opened for it, and the tool may judge."""
    (tmp_path / "strict.json").write_text('{"required": ["count"]}')
    for schema in (
        {"$ref": f"file://{tmp_path}/strict.json"},
        {"$ref": "http://192.0.2.1/x"},
        {"type": "banana"},
    ):
        tools = catalog([ToolSpec("shop", "buy", input_schema=schema)])
        call = ToolCall("c", "shop", "buy", {})
        assert HOOKS.before_tool.apply(context(tools=tools), call, "c") == call


def test_numbers_written_as_text_become_numbers() -> None:
    call = ToolCall("c", "shop", "buy", {"count": "4", "price": "2.5", "gift": "TRUE"})
    fitted = HOOKS.before_tool.apply(context(tools=TOOLS), call, "c")
    assert fitted.arguments == {"count": 4, "price": 2.5, "gift": True}
    assert call.arguments["count"] == "4"


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["count", "price", "gift", "other"]), st.text() | st.integers() | st.none()
    )
)
def test_arguments_that_pass_meet_the_schema_and_the_bounds(arguments: dict[str, Any]) -> None:
    try:
        passed = HOOKS.before_tool.apply(context(tools=TOOLS), ToolCall("c", "shop", "buy", arguments), "c")
    except Denied:
        return
    assert isinstance(passed.arguments["count"], int)
    assert 1 <= passed.arguments["count"] <= 5


def test_settings_come_from_the_body_and_from_lines_of_the_text() -> None:
    turn = context(settings={"language": "de"})
    changed = HOOKS.before_turn.apply(turn, request("/set units = metric\nHow far?", language="fr"))
    assert turn.settings == {"language": "fr", "units": "metric"}
    assert changed.text == "How far?"


@pytest.mark.parametrize("text", ["/set unit=metric", "/set units=both"])
def test_a_wrong_setting_is_refused_and_nothing_is_set(text: str) -> None:
    turn = context()
    with pytest.raises(Denied):
        HOOKS.before_turn.apply(turn, request(text))
    assert turn.settings == {}


def test_settings_and_notes_reach_the_model_as_system_messages_after_the_first() -> None:
    messages = ({"role": "system", "content": "be"}, {"role": "user", "content": "hi"})
    turn = context(settings={"units": "metric", "planning": "on"}, notes=("likes tea",))
    told = HOOKS.before_model.apply(turn, ModelRequest(messages, ()))
    assert [m["role"] for m in told.messages] == ["system", "system", "system", "user"]
    assert told.messages[1]["content"] == "Settings of this session:\n- units (measures): metric"
    assert "likes tea" in told.messages[2]["content"]
    assert len(messages) == 2


def test_limits() -> None:
    with pytest.raises(Denied, match="101 characters"):
        HOOKS.before_turn.apply(context(), request("x" * 101))
    with pytest.raises(Denied, match="50 tokens"):
        HOOKS.before_model.apply(context(spent_tokens=30, usage=Usage(10, 10)), ModelRequest((), ()))
    assert HOOKS.after_turn.apply(context(), "y" * 11) == "y" * 10 + "\n[cut]"
    result = ToolResult("c", "s", "t", "z" * 11)
    assert HOOKS.after_tool.apply(context(), result, "c").content == "z" * 10 + "\n[cut]"


def test_secrets_do_not_leave_in_an_answer() -> None:
    reply = ModelReply("use sk-abc and sk-def", (), "stop", Usage())
    assert HOOKS.after_model.apply(context(), reply).content == "use [key removed] and [key removed]"


def test_the_shipped_policy_redacts_and_bounds() -> None:
    hooks = shipped_hooks(read_policy())
    reply = ModelReply("Authorization: Bearer abcdefghijklmnop1234", (), "stop", Usage())
    assert "abcdefgh" not in str(hooks.after_model.apply(context(), reply).content)
    with pytest.raises(Denied):
        hooks.before_tool.apply(context(), ToolCall("c", "git", "git_log", {"max_count": 1000}), "c")


def test_a_held_log_hands_on_in_its_own_order_with_the_times_of_the_facts() -> None:
    log, first, second = Log(), HeldLog(), HeldLog()
    second.emit("b", x=1)
    first.emit("a", x=2)
    first.release(log)
    second.release(log)
    second.release(log)
    assert log.events == [("a", {"x": 2}), ("b", {"x": 1})]
