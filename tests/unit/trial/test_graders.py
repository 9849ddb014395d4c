"""Graders that run in our own process or in the matcher: what passes, what fails, what is broken.

Sandboxed graders need the real engine: tests/integration/test_trial_graders.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from evidence.canonical import digest
from evidence.cases import GraderRef, RecordedCall, RecordedTurn, RegressionCase, Signal, VisibleCase
from evidence.redact import Redactor
from trial.arena import make_trial
from trial.graders import GraderBroken, GraderConfig, GraderError, GraderSet, load_graders
from trial.graders.matcher import Matcher
from trial.graders.reading import REPLY_CAP, answer_text, shown_reply, truncated
from trial.graders.sandbox import parse_answer
from trial.honeypot import HoneypotCase
from trial.plan import Job
from trial.replay import Replay
from trial.report import Grade, Trial
from trial.turns import ReplayedTurn

CONFIG: TypeAdapter[GraderConfig] = TypeAdapter(GraderConfig)


def case(text: str = "what is 6*7?", **extra: object) -> VisibleCase:
    turn = RecordedTurn(
        request_id="r1", session="s1", path="/v1/chat/completions",
        body={"messages": [{"role": "user", "content": text}], "answer": 42}, status=200,
    )  # fmt: skip
    return VisibleCase(id="c1", evidence_id="e1", fingerprint="f", turn=turn, **extra)  # type: ignore[arg-type]


def chat(text: str, finish: str = "stop") -> dict[str, object]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}


def replay(
    reply: object = None, status: int | None = 200, calls: tuple[RecordedCall, ...] = (), **extra: object
) -> Replay:
    turn = ReplayedTurn("r1", status, reply, {"content-type": "application/json"}, 0.01)
    return Replay(turns=(turn,), calls=calls, files=Path("/nonexistent"), **extra)  # type: ignore[arg-type]


def call(target: str, order: int, request_id: str = "r1", **arguments: object) -> RecordedCall:
    return RecordedCall(
        kind="tool", target=target, request_id=request_id, request={"name": target, "arguments": arguments},
        response={}, start_order=2 * order, end_order=2 * order + 1, latency=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def graders(home: Path, *tables: dict[str, object]) -> GraderSet:
    named = [{"name": f"g{i}", **table} for i, table in enumerate(tables)]
    return load_graders([CONFIG.validate_python(table) for table in named], home)


@pytest.fixture(scope="module")
def matcher() -> Iterator[Matcher]:
    with Matcher(seconds=0.5) as made:
        yield made


def passes(home: Path, table: dict[str, object], seen: Replay, of: VisibleCase | None = None) -> bool:
    with graders(home, table) as loaded:
        grades = loaded.grade(of or case(), seen)
    return grades[0].passed


@pytest.mark.parametrize(
    ("table", "text", "expected"),
    [
        ({"kind": "exact", "expected": "42"}, " 42\n", True),
        ({"kind": "exact", "expected": "42", "strip": False}, " 42", False),
        ({"kind": "exact", "expected": "Yes", "ignore_case": True}, "YES", True),
        ({"kind": "exact", "expected": "Yes"}, "YES", False),
        ({"kind": "exact", "select": "status", "expected": 200}, "x", True),
        ({"kind": "exact", "select": "status", "expected": True}, "x", False),
        ({"kind": "exact", "select": "$.choices[0].finish_reason", "expected": "stop"}, "x", True),
        ({"kind": "exact", "expected_path": "$.body.messages[0].content"}, "what is 6*7?", True),
        ({"kind": "regex", "pattern": r"\b42\b"}, "it is 42.", True),
        ({"kind": "regex", "pattern": "42", "full": True}, "it is 42", False),
        ({"kind": "regex", "pattern": "error", "absent": True}, "all well", True),
        ({"kind": "regex", "pattern": "error", "absent": True}, "an error", False),
        ({"kind": "regex", "pattern": "x", "select": "$.missing", "absent": True}, "y", False),
        ({"kind": "json_schema", "schema": {"required": ["a"]}}, '{"a": 1}', True),
        ({"kind": "json_schema", "schema": {"required": ["a"]}}, '{"b": 1}', False),
        ({"kind": "json_schema", "schema": {}}, '{"a": 1} and more', False),
        ({"kind": "json_schema", "schema": {}}, "NaN", False),
        ({"kind": "json_path", "path": "$.a[?@.k == 1]"}, '{"a": [{"k": 1}]}', True),
        ({"kind": "json_path", "path": "$.a[?@.k == 2]"}, '{"a": [{"k": 1}]}', False),
        ({"kind": "json_path", "path": "$.a[*]", "count": 2}, '{"a": [1, 2]}', True),
        ({"kind": "json_path", "path": "$.a[*]", "count": 0}, '{"a": []}', True),
        ({"kind": "json_path", "path": "$.a", "equals": 1}, '{"a": true}', False),
        ({"kind": "json_path", "path": "$.a", "equals": None}, '{"a": null}', True),
    ],
)  # fmt: skip
def test_what_passes(home: Path, table: dict[str, object], text: str, expected: bool) -> None:
    assert passes(home, table, replay(chat(text))) is expected


A, B, X = {"tool": "shop/find"}, {"tool": "shop/buy"}, {"tool": "shop/delete*"}


@pytest.mark.parametrize(
    ("table", "made", "expected"),
    [
        ({"required": [A, B]}, ["shop/buy", "shop/find"], True),
        ({"required": [A, B], "ordered": True}, ["shop/buy", "shop/find"], False),
        ({"required": [A, B], "ordered": True}, ["shop/find", "shop/x", "shop/buy"], True),
        ({"required": [A, A]}, ["shop/find"], False),
        ({"required": [A], "only": True}, ["shop/find", "shop/find"], False),
        ({"forbidden": [X]}, ["shop/delete_all"], False),
        ({"forbidden": [X]}, ["shop/find"], True),
        ({"required": [{"tool": "shop/*"}, A]}, ["shop/find", "shop/buy"], True),
    ],
)
def test_tool_traces(home: Path, table: dict[str, object], made: list[str], expected: bool) -> None:
    calls = tuple(call(target, order) for order, target in enumerate(made))
    assert passes(home, {"kind": "tool_trace", **table}, replay(chat("ok"), calls=calls)) is expected


def test_tool_arguments_are_judged_on_the_gateways_calls(home: Path) -> None:
    pattern = {
        "tool": "shop/buy",
        "arguments": {"item.id": 7},
        "matches": {"note": "^for .*"},
        "from_request": {"count": "$.body.answer"},
    }
    table: dict[str, object] = {"kind": "tool_trace", "required": [pattern]}
    good = call("shop/buy", 1, item={"id": 7}, note="for me", count=42)
    assert passes(home, table, replay(chat("ok"), calls=(good,)))
    for wrong in ({"id": 8}, {"id": "7"}):
        bad = call("shop/buy", 1, item=wrong, note="for me", count=42)
        assert not passes(home, table, replay(chat("ok"), calls=(bad,)))
    claimed = {"kind": "tool_call", "turn": "r1", "server": "shop", "tool": "buy",
               "arguments": {"item": {"id": 7}, "note": "for me", "count": 42}}  # fmt: skip
    assert not passes(home, table, replay(chat("I bought it"), events=(claimed,)))


def test_a_call_under_a_foreign_id_still_counts(home: Path) -> None:
    earlier = RecordedTurn(request_id="r0", session="s1", path="/", body={})
    hidden = replay(chat("ok"), calls=(call("shop/delete", 1, request_id="nobody"),))
    table: dict[str, object] = {"kind": "tool_trace", "forbidden": [X]}
    assert not passes(home, table, hidden, case(prelude=(earlier,)))
    of_prelude = replay(chat("ok"), calls=(call("shop/delete", 1, request_id="r0"),))
    assert passes(home, table, of_prelude, case(prelude=(earlier,)))


def test_a_catastrophic_pattern_breaks_the_grader_and_not_us(matcher: Matcher) -> None:
    with pytest.raises(GraderBroken, match="longer than"):
        matcher.regex(r"(a+)+$", "a" * 60 + "b")
    with pytest.raises(GraderBroken, match="longer than"):
        matcher.schema({"pattern": r"^(a|a)*$"}, "a" * 60 + "b")
    assert matcher.regex("a+", "baa"), "the next question finds a fresh worker"


@pytest.mark.parametrize(("question", "value"), [("regex", "("), ("path", "$["), ("schema", {"type": 7})])
def test_a_wrong_pattern_breaks_the_grader(matcher: Matcher, question: str, value: object) -> None:
    with pytest.raises(GraderBroken):
        getattr(matcher, question)(value, "x")


def test_answered_is_there_without_configuration(home: Path) -> None:
    with graders(home) as loaded:
        assert [ref.name for ref in loaded.refs_for(case())] == ["answered"]
        assert loaded.grade(case(), replay(chat("42")))[0].passed
        for bad in (replay(chat("")), replay(chat("x"), 500), replay({}), replay(None)):
            assert not loaded.grade(case(), bad)[0].passed
        error = {"kind": "error", "turn": "r1", "type": "KeyError", "where": "tool", "message": "x"}
        assert not loaded.grade(case(), replay(chat("sorry"), events=(error,)))[0].passed
        hostile = {"kind": "tool_result", "turn": "r1", "call_id": ["unhashable"]}
        assert loaded.grade(case(), replay(chat("ok"), events=(hostile,)))[0].passed


def test_a_refusal_that_worked_must_stay_a_refusal(home: Path) -> None:
    turn = case().turn.model_copy(update={"status": 400})
    refused = RegressionCase(id="c", evidence_id="e", fingerprint="", turn=turn)
    with graders(home) as loaded:
        assert loaded.grade(refused, replay({"error": "no"}, 400))[0].passed
        assert not loaded.grade(refused, replay(chat("ok")))[0].passed


def test_a_tool_that_failed_then_may_fail_again_unless_that_was_the_complaint(home: Path) -> None:
    failed = {"kind": "tool_result", "turn": "r1", "is_error": True, "content": "no such item"}
    seen = replay(chat("ok"), events=(failed,))
    complaint = Signal(kind="tool_error", name="shop/find", reason="")
    other = Signal(kind="rule", name="r", reason="")
    with graders(home) as loaded:
        assert not loaded.grade(case(signals=(complaint,)), seen)[0].passed
        assert loaded.grade(case(signals=(complaint, other)), seen)[0].passed


def test_a_grader_applies_by_path_and_by_pattern(home: Path) -> None:
    sums: dict[str, object] = {"kind": "regex", "pattern": "x", "applies": {"regex": r"\d+\*\d+"}}
    tools: dict[str, object] = {"kind": "regex", "pattern": "x", "applies": {"path": "$.body.tools"}}
    status: dict[str, object] = {"kind": "exact", "select": "status", "expected": 422}
    with graders(home, sums, tools) as loaded:
        assert [ref.name for ref in loaded.refs_for(case())] == ["g0", "answered"]
        assert [ref.name for ref in loaded.refs_for(case("hello"))] == ["answered"]
    with graders(home, status) as loaded:
        assert [ref.name for ref in loaded.refs_for(case())] == ["g0"]


def test_the_digest_covers_configuration_and_bytes(home: Path) -> None:
    (home / "g.py").write_text("def grade(case, replay): return 1")
    table: dict[str, object] = {"kind": "python", "file": "g.py"}
    with graders(home, table) as loaded, graders(home, {**table, "pass_at": 0.5}) as other:
        assert loaded.digest != other.digest
        assert loaded.current_digest() == loaded.digest
        (home / "g.py").write_text("def grade(case, replay): return 1 ")
        assert loaded.current_digest() != loaded.digest
        stale = case(graders=(GraderRef(name="g0", digest="sha256:other"),))
        with pytest.raises(GraderBroken, match="changed"):
            loaded.grade(stale, replay(chat("x")))
        with pytest.raises(GraderBroken, match="gone"):
            loaded.grade(case(graders=(GraderRef(name="zz", digest=""),)), replay(chat("x")))
    with (
        graders(home, {"kind": "exact"}, {"kind": "regex", "pattern": "x"}) as one,
        load_graders([CONFIG.validate_python({"name": f"g{i}", **t}) for i, t in
                      ((1, {"kind": "regex", "pattern": "x"}), (0, {"kind": "exact"}))], home) as two,
    ):  # fmt: skip
        assert one.digest == two.digest


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "python", "file": "../outside.py"},
        {"kind": "python", "file": "/etc/passwd"},
        {"kind": "regex", "pattern": "x", "patern": "y"},
        {"kind": "nonsense"},
        {"kind": "exact", "pass_at": 0},
        {"kind": "exact", "select": "$.["},
        {"kind": "regex", "pattern": "("},
        {"kind": "json_path", "path": "a.b"},
        {"kind": "json_path", "path": "$["},
    ],
)
def test_wrong_configuration_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CONFIG.validate_python({"name": "g", **table})


def test_wrong_files_and_names_are_refused_in_one_line(home: Path) -> None:
    for table, message in (
        ({"kind": "python", "file": "missing.py"}, "No such file"),
        ({"kind": "json_schema"}, "either"),
    ):
        with pytest.raises(GraderError, match=message) as caught:
            graders(home, table)
        assert "\n" not in str(caught.value)
    twice = CONFIG.validate_python({"name": "same", "kind": "regex", "pattern": "x"})
    with pytest.raises(GraderError, match="twice"):
        load_graders([twice, twice], home)


def test_a_honeypot_passes_only_with_its_nonce(home: Path) -> None:
    pot = HoneypotCase(
        **{k: getattr(case(), k) for k in type(case()).model_fields if k != "split"},
        rides_with="visible",
        nonce="ab" * 16,
    )
    with graders(home) as loaded:
        assert not loaded.grade(pot, replay(chat("42")))[0].passed
        assert loaded.grade(pot, replay(chat("it is " + "ab" * 16)))[0].passed
        assert not loaded.grade(pot, replay(chat("\ud800"), events=({"x": float("nan")},)))[0].passed


FRAME = json.dumps({"choices": [{"delta": {"content": "42"}, "finish_reason": None}]})
LAST = json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]})


def test_streams_are_read_from_their_deltas() -> None:
    turn = ReplayedTurn("r", 200, [FRAME, FRAME, LAST, "[DONE]"], {"content-type": "text/event-stream"})
    assert answer_text(turn) == "4242"
    assert truncated(turn) is None


CUT_REPLIES: list[object] = [
    *('{"choices": [{"message": {"content": "42"}}]}'[:cut] for cut in range(1, 41, 2)),
    chat("42", "length"),
    [FRAME],
    [FRAME, FRAME],
    [],
    [FRAME, json.dumps({"choices": [{"delta": {}, "finish_reason": "length"}]}), "[DONE]"],
    [json.loads(FRAME)],
    [FRAME, LAST[:20]],
    chat("42\ud800"),
    {"choices": [{"message": {"content": "42"}, "finish_reason": "stop"}], "x": float("nan")},
    {"choices": [{"message": {"content": "42"}, "finish_reason": "stop"}], "x": float("inf")},
]


@pytest.mark.parametrize("reply", CUT_REPLIES)
def test_a_cut_answer_never_passes(home: Path, reply: object) -> None:
    with graders(home, {"kind": "regex", "pattern": ".*"}) as loaded:
        grades = loaded.grade(case(), replay(reply))
    assert grades
    assert not any(grade.passed for grade in grades)


WHOLE = b'{"id": "n", "score": 1.0, "reason": "ok"}'
CRAFTED: list[bytes] = [
    *(WHOLE[:cut] for cut in range(0, len(WHOLE), 3)),
    WHOLE + WHOLE,
    WHOLE + b" PASS",
    b"PASS",
    b"1.0",
    b"true",
    b"[1.0]",
    b'"pass"',
    b'{"id": "n", "score": 1.0}',
    b'{"score": 1.0, "reason": "ok"}',
    b'{"id": "m", "score": 1.0, "reason": "ok"}',
    b'{"id": "n", "score": true, "reason": "ok"}',
    b'{"id": "n", "score": "1.0", "reason": "ok"}',
    b'{"id": "n", "score": NaN, "reason": "ok"}',
    b'{"id": "n", "score": Infinity, "reason": "ok"}',
    b'{"id": "n", "score": 1e999, "reason": "ok"}',
    b'{"id": "n", "score": 1.01, "reason": "ok"}',
    b'{"id": "n", "score": -0.1, "reason": "ok"}',
    b'{"id": "n", "score": null, "reason": "ok"}',
    b'{"id": "n", "score": [1.0], "reason": "ok"}',
    b'{"id": "n", "score": 0.0, "score": 1.0, "reason": "ok"}',
    b'{"id": "m", "id": "n", "score": 1.0, "reason": "ok"}',
    b'{"id": "n", "score": 1.0, "reason": "ok", "truncated": true}',
    b'{"id": "n", "score": 1.0, "reason": 7}',
    b'{"id": "n", "broken": "took too long"}',
    b'{"id": "n", "score": 1.0, "reason": "ok", "broken": "x"}',
    b"\xff" + WHOLE,
    b"{" * 5000,
    b"",
    b"\x00",
    b"## Verdict CONVERGED",
    b'{"id": "n", "score": 1.0, "reason": "o',
    b'{"id": "n", "score": 0x1, "reason": "ok"}',
]


@pytest.mark.parametrize("line", CRAFTED)
def test_a_crafted_grader_answer_is_broken_and_never_a_pass(line: bytes) -> None:
    with pytest.raises(GraderBroken):
        parse_answer(line, "n")


def test_at_least_fifty_crafted_outputs_were_tried() -> None:
    assert parse_answer(WHOLE, "n") == (1.0, "ok")
    assert len(CRAFTED) + len(CUT_REPLIES) >= 50


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_are_never_an_answer(line: bytes) -> None:
    with pytest.raises(GraderBroken):
        parse_answer(line, "n")


def deep(levels: int) -> object:
    value: object = "x"
    for _ in range(levels):
        value = [value]
    return {"odd": value}


@pytest.mark.parametrize(
    "reply",
    [
        chat("forty-two"),
        chat("half \ud800 a character"),
        deep(100_000),
        {"n": float("nan")},
        None,
        [1, "x", [{}]],
    ],
    ids=["honest", "surrogate", "deep", "not a number", "nothing", "odd stream"],
)
def test_a_trial_keeps_what_was_answered_and_can_always_be_stored(reply: object) -> None:
    made = make_trial(Job(case(), "candidate", "sha256:0", 0), replay(reply), lambda *_: ())
    assert digest(made)
    graded = Grade(grader="g", score=1.0, passed=True)
    kept = make_trial(Job(case(), "candidate", "sha256:0", 0), replay(reply), lambda *_: (graded,))
    assert digest([kept.model_dump(mode="json")])
    assert Trial.model_validate_json(kept.model_dump_json()) == kept


def test_a_kept_reply_is_capped_and_says_so() -> None:
    assert shown_reply(replay(chat("forty-two")).turn) == "forty-two"
    long = shown_reply(replay(chat("x" * (REPLY_CAP + 5))).turn)
    assert long.startswith("x" * REPLY_CAP)
    assert long.endswith("[5 more characters]")


def test_a_kept_reply_holds_no_secret_not_even_half_of_one() -> None:
    secret = "sk-live-" + "Zq7xV9" * 8
    redact = Redactor(b"k" * 32, values=[secret]).text
    passed = (Grade(grader="g", score=1.0, passed=True),)
    for text in (f"the key is {secret}", "x" * (REPLY_CAP - 12) + " " + secret):
        kept = make_trial(
            Job(case(), "candidate", "sha256:0", 0), replay(chat(text)), lambda *_: passed, redact=redact
        )
        assert secret[:8] not in kept.reply
        assert "[redacted" in kept.reply
