"""Each signal says why, and only what failed is a signal."""

from pathlib import Path
from typing import Any

import pytest

from evidence.cases import Signal
from evidence.fingerprint import fingerprint, innermost_frames, leading, normalise
from evidence.signals import LoadedRule, RuleError, dressed_error, judge, load_rule


def turn(**fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"path": "/v1/chat/completions", "request": {}, "reply": {}, "status": 200}
    return base | {"events": [], "calls": [], "flags": [], "latency": 1.0} | fields


def result(content: object, is_error: bool = False) -> dict[str, Any]:
    return {
        "kind": "tool_result",
        "call_id": "c1",
        "server": "shop",
        "tool": "find",
        "content": content,
        "is_error": is_error,
    }


def found(**fields: Any) -> list[tuple[str, str]]:
    return [(signal.kind, signal.name) for signal in judge(turn(**fields)).signals]


def test_a_turn_that_worked_has_no_signal() -> None:
    assert (
        found(events=[result("3 shoes"), result({"error": None, "ok": True}), result('{"status": "ok"}')])
        == []
    )


def test_exceptions_timeouts_and_lost_processes() -> None:
    error = {"kind": "error", "where": "model", "type": "KeyError", "message": "'x'"}
    assert found(events=[error]) == [("exception", "KeyError")]
    assert found(status=500) == [("exception", "http_500")]
    assert found(status=504) == [("timeout", "turn")]
    assert found(timed_out=True) == [("timeout", "turn")]
    assert found(status=None, lost=True) == [("exception", "process_died")]


@pytest.mark.parametrize(
    "content",
    [
        {"error": "no such table"},
        '{"success": false}',
        '{"ok": false}',
        [{"type": "text", "text": '{"status": "error"}'}],
        {"status_code": 503},
        "Error: connection refused",
        "Traceback (most recent call last):\n  File",
        [{"type": "text", "text": "ValueError: bad date"}],
        {"isError": True},
    ],
)
def test_errors_dressed_as_success(content: object) -> None:
    assert found(events=[result(content)]) == [("tool_error", "shop/find")]


@pytest.mark.parametrize(
    "content", ["errors are rare", "No error found", '{"errors": []}', {"status": 200}, "{broken", None, 7]
)
def test_results_that_only_talk_of_errors(content: object) -> None:
    assert dressed_error(content) == ""


def test_a_tool_error_that_the_service_hid() -> None:
    call = {
        "kind": "tool",
        "target": "shop/find",
        "response": {"result": {"isError": True, "content": "boom"}},
    }
    assert found(calls=[call], events=[result("all fine")]) == [("tool_error", "shop/find")]
    assert found(calls=[{**call, "response": {"result": {"content": "x"}}}]) == []


def test_rules_and_flags() -> None:
    rules = [
        LoadedRule("polite", lambda t: "rude" if t["status"] == 200 else None),
        LoadedRule("odd", lambda t: 3),
    ]  # type: ignore[return-value,arg-type]
    judged = judge(turn(flags=[{"comment": ""}]), rules)
    assert [(s.kind, s.reason) for s in judged.signals] == [
        ("rule", "rude"),
        ("user_flag", "flagged without a comment"),
    ]
    assert judged.broken_rules == ("odd: returned int, not a reason or None",)


def test_rules_are_loaded_from_files(tmp_path: Path) -> None:
    file = tmp_path / "rules.py"
    file.write_text("def short(turn):\n    return 'too long' if len(str(turn['reply'])) > 3 else None\n")
    assert load_rule("short", file, "short").rule(turn(reply="long one")) == "too long"
    for text, message in (
        ("def x(", "SyntaxError"),
        ("1/0", "ZeroDivisionError"),
        ("short = 3", "no function 'short'"),
    ):
        file.write_text(text)
        with pytest.raises(RuleError, match=message):
            load_rule("short", file, "short")
    with pytest.raises(RuleError, match="No such file"):
        load_rule("short", tmp_path / "gone.py", "short")


def signal(reason: str, kind: str = "rule", name: str = "r") -> Signal:
    return Signal.model_validate({"kind": kind, "name": name, "reason": reason})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 costs 12.50", "order 9 costs 3"),
        ("no city 'Paris'", 'no city "Old York"'),
        ("in /srv/a/x.py", "in /home/me/other/x.py"),
        ("id 01ARZ3NDEKTSV4RRFFQ69G5FAV", "id 01BX5ZZKBKACTAV9WEVGEMMVRZ"),
        ("key deadbeefdeadbeef00", "key 0123456789abcdef01"),
        ("see https://a.example/1", "see http://b.example/x?y=2"),
        ("values 1, 2, 3", "values 4, 5"),
        ("user ab12cd failed", "user zz99 failed"),
        ("token [redacted:github:0011aabb]", "token [redacted:npm:99999999]"),
    ],
)
def test_incidental_parts_do_not_split_a_group(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert fingerprint(turn(), [signal(one)]) == fingerprint(turn(), [signal(other)])


def test_what_went_wrong_and_where_does_split() -> None:
    assert normalise("no such city") != normalise("no such street")
    trace = 'File "/a/b/x.py", line {}, in {}\n'

    def failed(name: str, line: int) -> str:
        event = {
            "kind": "error",
            "type": "E",
            "where": "turn",
            "message": str(line),
            "traceback": trace.format(line, name),
        }
        return fingerprint(turn(events=[event]), [signal("m", "exception", "E")])

    assert failed("f", 1) == failed("f", 2)
    assert failed("f", 1) != failed("g", 1)
    assert innermost_frames("".join(trace.format(i, f"f{i}") for i in range(9))) == [
        "b/x.py:f6",
        "b/x.py:f7",
        "b/x.py:f8",
    ]


def test_a_flags_words_do_not_choose_its_group() -> None:
    one, other = signal("free money", "user_flag", "flag"), signal("bad", "user_flag", "flag")
    assert fingerprint(turn(), [one]) == fingerprint(turn(), [other])
    assert leading([one, signal("x", "exception")]).kind == "exception"


def workflow(answered: bool, **step: Any) -> dict[str, Any]:
    steps = [{"id": "s1", "state": "done", "tool": "shop/find"}, {"id": "s2", "state": "done", **step}]
    return {"kind": "workflow", "name": "plan", "answered": answered, "steps": steps}


def test_a_step_that_failed_without_a_tools_word_is_a_signal_where_no_workflow_answered() -> None:
    failed = {"state": "failed", "tool": "shop/buy", "error": "s1.price is not there"}
    (signal,) = judge(turn(events=[workflow(False, **failed)])).signals
    assert (signal.kind, signal.name) == ("tool_error", "shop/buy")
    assert signal.reason == "step s2 of the workflow plan failed: s1.price is not there"
    assert found(events=[workflow(False, state="failed")]) == [("tool_error", "plan")]
    assert found(events=[workflow(False, state="skipped")]) == []
    assert found(events=[workflow(False, state="cut_off", tool="shop/buy")]) == []
    assert found(events=[workflow(False, **failed), workflow(True)]) == []
    assert found(events=[result("no", is_error=True), workflow(False, **failed)]) == [
        ("tool_error", "shop/find")
    ]
