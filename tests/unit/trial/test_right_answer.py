"""What graders know to be right: words that are expected and calls that are required, and nothing that would be guessed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from evidence.cases import RecordedTurn, VisibleCase
from trial.gateway.right_answer import RightAnswer, RightCall
from trial.graders import GraderConfig, load_graders
from trial.graders.matcher import Matcher
from trial.graders.right_answer import NoRightAnswer, right_answer

Json = dict[str, Any]
BODY: Json = {
    "messages": [{"role": "user", "content": "Is order 7 there?"}],
    "order": {"id": 7},
    "wanted": "yes",
}
CASE = VisibleCase(
    id="c",
    evidence_id="e",
    fingerprint="f",
    turn=RecordedTurn(request_id="r", session="s", path="/v1/chat/completions", body=BODY),
)


@pytest.fixture(scope="module")
def matcher() -> Iterator[Matcher]:
    with Matcher() as made:
        yield made


def known(matcher: Matcher, *tables: Json) -> RightAnswer:
    named = [{"name": f"g{n}", **table} for n, table in enumerate(tables)]
    configs: list[GraderConfig] = TypeAdapter(list[GraderConfig]).validate_python(named)
    return right_answer(configs, CASE, matcher)


def exact(**more: object) -> Json:
    return {"kind": "exact", **more}


def trace(*required: Json) -> Json:
    return {"kind": "tool_trace", "required": list(required)}


REGEX = {"kind": "regex", "pattern": "yes"}
STATE = {
    "tool": "shop/state",
    "from_request": {"order.id": "$.body.order.id"},
    "arguments": {"order.kind": "x"},
}
CALL = RightCall(tool="shop/state", arguments={"order": {"id": 7, "kind": "x"}})


@pytest.mark.parametrize(
    ("tables", "right"),
    [
        ([exact(expected="yes")], RightAnswer(text="yes")),
        ([exact(expected_path="$.body.wanted"), REGEX], RightAnswer(text="yes")),
        ([exact(expected="yes"), exact(expected="yes")], RightAnswer(text="yes")),
        ([trace(STATE)], RightAnswer(calls=(CALL,))),
        ([trace(STATE, STATE), exact(expected="yes")], RightAnswer(calls=(CALL, CALL), text="yes")),
        (
            [trace({"tool": "a/b", "matches": {"q": "x"}, "arguments": {"q": "xy"}})],
            RightAnswer(calls=(RightCall(tool="a/b", arguments={"q": "xy"}),)),
        ),
    ],
)
def test_words_and_calls_that_graders_know(matcher: Matcher, tables: list[Json], right: RightAnswer) -> None:
    assert known(matcher, *tables) == right


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([], "knows a right answer"),
        ([REGEX], "knows a right answer"),
        ([exact(expected="200", select="status")], "knows a right answer"),
        ([exact(expected=5)], "knows a right answer"),
        ([{"kind": "tool_trace", "forbidden": [{"tool": "a/b"}]}], "knows a right answer"),
        ([exact(expected="yes"), exact(expected="no")], "different words"),
        ([trace({"tool": "shop/*"})], "no single tool"),
        ([trace({"tool": "shop"})], "no single tool"),
        ([trace({"tool": "a/b", "matches": {"q": "x"}})], "only a pattern"),
        ([trace({"tool": "a/b", "from_request": {"q": "$.body.nothing"}})], "holds nothing"),
        ([trace({"tool": "a/b", "arguments": {"q": 1, "q.r": 2}})], "both"),
        ([trace({"tool": "a/b", "arguments": {"q.r": 2, "q": 1}})], "both"),
    ],
)
def test_what_nobody_knows_is_not_guessed(matcher: Matcher, tables: list[Json], said: str) -> None:
    with pytest.raises(NoRightAnswer, match=said):
        known(matcher, *tables)


def test_a_case_is_asked_by_its_own_graders(tmp_path: Path) -> None:
    tables = [
        exact(name="here", expected="yes", applies={"regex": "order"}),
        exact(name="elsewhere", expected="no", applies={"regex": "weather"}),
    ]
    with load_graders(TypeAdapter(list[GraderConfig]).validate_python(tables), tmp_path) as loaded:
        assert loaded.right_answer(CASE).text == "yes"
        assert loaded.fits({"type": "object"}, {})
        assert not loaded.fits({"type": "object"}, [])
