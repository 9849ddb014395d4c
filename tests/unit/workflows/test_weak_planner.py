"""The weak planner is right at rates of nothing, wrong in the way that is asked for at rates of one, and the same each time;
and the rule that counts mistakes finds those that it makes."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.workflows import react
from benchmarks.workflows.errors import Tally, count
from benchmarks.workflows.prompts import read_prompt
from benchmarks.workflows.slips import KINDS, Draw, Kind, Shown, with_slips
from benchmarks.workflows.step_errors import count_step
from benchmarks.workflows.tasks import Task
from benchmarks.workflows.weak_planner import RateTable, WeakPlanner
from benchmarks.workflows.wire import tokens
from workflows.catalog import ToolSpec, catalog
from workflows.planner import Failure, messages, shown_tools

TEXT = {"type": "string"}


def tool(name: str, *arguments: str, **types: object) -> ToolSpec:
    properties = {**dict.fromkeys(arguments, TEXT), **types}
    return ToolSpec(
        "a", name, name, {"type": "object", "properties": properties, "required": list(properties)}
    )


TOOLS = catalog(
    [tool("read", "path"), tool("write", "path", "content"), tool("say", "words", times={"type": "integer"})]
)
SHOWN = [Shown(spec.key, spec.required, ()) for spec in TOOLS]
ORACLE = {
    "steps": [
        {"id": "s1", "tool": "a/read", "arguments": {"path": "x"}},
        {"id": "s2", "tool": "a/write", "arguments": {"path": "y", "content": "{s1.text}"}},
        {"id": "s3", "tool": "a/say", "arguments": {"words": "hi", "times": 2}, "after": ["s2"]},
    ],
    "answer": "it was {s1.text}",
}
REQUEST = "read x, write it to y and say hi"
TASK = Task("t", "tune", "long", 0, REQUEST, {}, ORACLE, {})
NEVER: Mapping[str, float] = dict.fromkeys(KINDS, 0.0)


def always(*kinds: Kind) -> dict[str, float]:
    return {**NEVER, **dict.fromkeys(kinds, 1.0)}


def asked(last: Failure | None = None) -> list[dict[str, str]]:
    return messages(REQUEST, shown_tools(TOOLS, REQUEST), TOOLS, last)


def tallied(plan: object) -> dict[str, int]:
    tally = Tally()
    count(plan if isinstance(plan, str) else json.dumps(plan), ORACLE, TOOLS, tally)
    return {kind: made for kind, made in tally.made.items() if made}


def test_without_mistakes_it_says_the_oracle() -> None:
    assert json.loads(WeakPlanner([TASK], RateTable.same(NEVER), 0).answer(asked())) == ORACLE
    assert tallied(ORACLE) == {}


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("prose", {"prose": 1}),
        ("invented_step", {"invented_step": 1}),
        ("missing_step", {"missing_step": 3, "lost_dependency": 1}),
        ("missing_argument", {"missing_argument": 5}),
        ("misnamed_argument", {"misnamed_argument": 5}),
        ("mistyped_argument", {"mistyped_argument": 5}),
        ("lost_dependency", {"lost_dependency": 2}),
        ("wrong_order", {"wrong_order": 1}),
    ],
)
def test_the_rule_counts_what_it_makes(kind: Kind, made: dict[str, int]) -> None:
    assert tallied(WeakPlanner([TASK], RateTable.same(always(kind)), 3).answer(asked())) == made


@pytest.mark.parametrize("kind", ["wrong_tool", "invented_tool"])
def test_the_rule_counts_tools_that_are_not_the_oracles(kind: Kind) -> None:
    oracle = {"steps": ORACLE["steps"][:1], "answer": ""}
    tally = Tally()
    count(json.dumps(with_slips(oracle, SHOWN, Draw(always(kind), "0"))), oracle, TOOLS, tally)
    assert {name: made for name, made in tally.made.items() if made} == {kind: 1}


def test_the_same_seed_says_the_same_and_each_try_draws_anew() -> None:
    half = RateTable.same(dict.fromkeys(KINDS, 0.3))
    one, other = WeakPlanner([TASK], half, 1), WeakPlanner([TASK], half, 1)
    said = [one.answer(asked()) for _ in range(6)]
    assert said == [other.answer(asked()) for _ in range(6)]
    assert len(set(said)) > 3


def test_another_rate_changes_no_other_kind() -> None:
    rates = {**dict.fromkeys(KINDS, 0.3), "prose": 0.0}
    more = {**rates, "missing_argument": 1.0}
    for seed in range(20):
        one, other = (
            with_slips(ORACLE, SHOWN, Draw(rates, str(seed))),
            with_slips(ORACLE, SHOWN, Draw(more, str(seed))),
        )
        assert [step["id"] for step in one["steps"]] == [step["id"] for step in other["steps"]]
        assert [step["tool"] for step in one["steps"]] == [step["tool"] for step in other["steps"]]


def test_what_an_error_names_may_be_put_right() -> None:
    certain = RateTable.same(always("misnamed_argument"), fix=1.0)
    planner = WeakPlanner([TASK], certain, 0)
    first = json.loads(planner.answer(asked()))
    assert first["steps"][0]["arguments"] == {"file_path": "x"}
    again = json.loads(
        planner.answer(asked(Failure(json.dumps(first), ["s1: path is missing", "s3.words: what?"])))
    )
    assert [step["arguments"] for step in again["steps"]] == [
        ORACLE["steps"][0]["arguments"],
        {"file_path": "y", "text": "{s1.text}"},
        ORACLE["steps"][2]["arguments"],
    ]


def test_prose_that_was_refused_may_become_a_plan() -> None:
    planner = WeakPlanner([TASK], RateTable.same(always("prose"), fix=1.0), 0)
    first = planner.answer(asked())
    assert not first.startswith("{")
    assert json.loads(planner.answer(asked(Failure(first, ["the answer has no JSON object"])))) == ORACLE


def test_it_knows_no_other_requests() -> None:
    with pytest.raises(KeyError):
        WeakPlanner([TASK], RateTable.same(NEVER), 0).answer(messages("something else", [], TOOLS))


def stepwise(planner: WeakPlanner, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    past: list[react.Past] = []
    said: list[dict[str, Any]] = []
    while len(said) < 12:
        text = planner.answer(react.messages(REQUEST, past, TOOLS, 12))
        said.append(json.loads(text))
        if "answer" in said[-1]:
            return said
        value = results.get(said[-1]["tool"])
        past.append(react.Past(text, value, None if value is not None else "no"))
    return said


def test_step_by_step_it_takes_values_from_results() -> None:
    results = {"a/read": {"text": "some\nwords"}, "a/write": "ok", "a/say": "ok"}
    said = stepwise(WeakPlanner([TASK], RateTable.same(NEVER), 0), results)
    assert said == [
        {"tool": "a/read", "arguments": {"path": "x"}},
        {"tool": "a/write", "arguments": {"path": "y", "content": "some\nwords"}},
        {"tool": "a/say", "arguments": {"words": "hi", "times": 2}},
        {"answer": "it was some\nwords"},
    ]


def test_step_by_step_it_tries_again_what_failed() -> None:
    said = stepwise(WeakPlanner([TASK], RateTable.same(NEVER), 0), {"a/read": {"text": "t"}, "a/say": "ok"})
    assert [one.get("tool") for one in said] == ["a/read"] + ["a/write"] * 11


def test_step_by_step_what_is_forgotten_stays_forgotten() -> None:
    results = {"a/read": {"text": "t"}, "a/write": "ok", "a/say": "ok"}
    assert [
        list(one) for one in stepwise(WeakPlanner([TASK], RateTable.same(always("missing_step")), 0), results)
    ] == [["answer"]]
    lost = stepwise(WeakPlanner([TASK], RateTable.same(always("lost_dependency")), 0), results)
    assert lost[1]["arguments"]["content"] != "t"


@pytest.mark.parametrize(("fix", "questions"), [(0.0, 4), (1.0, 12)])
def test_step_by_step_a_wrong_call_that_worked_may_be_seen(fix: float, questions: int) -> None:
    results = {"a/read": {"text": "t"}, "a/write": "ok", "a/say": "ok"}
    said = stepwise(WeakPlanner([TASK], RateTable.same(always("wrong_tool"), fix), 0), results)
    assert len(said) == questions


def test_a_prompt_is_read_back() -> None:
    nested = ToolSpec(
        "a",
        "nest",
        "read words",
        {
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {"in": TEXT}}},
                "k": TEXT,
            },
            "required": ["list"],
        },
    )
    tools = catalog([nested])
    prompt = read_prompt(messages("read words", [nested], tools, Failure("x", ["s2.path: no", "plan: no"])))
    assert prompt.shown == [Shown("a/nest", ("list",), ("k",))]
    assert (prompt.request, prompt.retry, prompt.stepwise) == ("read words", True, False)
    assert prompt.named == {"s2"}


def test_tokens_are_four_characters() -> None:
    assert (tokens(), tokens("abc"), tokens("abcd", "e")) == (0, 1, 2)


@pytest.mark.parametrize("text", ["", "no plan", '{"answer": "x"}', '{"steps": [1], "answer": ""}'])
def test_what_is_no_plan_counts_as_prose_alone(text: str) -> None:
    tally = Tally()
    count(text, ORACLE, TOOLS, tally)
    assert {kind: made for kind, made in tally.made.items() if made} == {"prose": 1}
    assert sum(tally.could.values()) == 1


def test_of_half_a_plan_the_whole_steps_count() -> None:
    whole = json.dumps(
        {**ORACLE, "steps": [{**ORACLE["steps"][0], "arguments": {}}, *ORACLE["steps"][1:]]}, indent=1
    )
    tally = Tally()
    count(whole[: whole.index('"s3"')], ORACLE, TOOLS, tally)
    assert {kind: made for kind, made in tally.made.items() if made} == {"prose": 1, "missing_argument": 1}
    assert (tally.could["wrong_tool"], tally.could["missing_step"]) == (2, 0)


CALL = {"tool": "a/write", "arguments": {"path": "y", "content": "t"}, "taken": ["content"]}


@pytest.mark.parametrize(
    ("text", "right", "made"),
    [
        ('{"tool": "a/write", "arguments": {"path": "y", "content": "t"}}', CALL, []),
        (
            '{"tool": "a/write", "arguments": {"path": "z", "content": "u"}}',
            CALL,
            ["lost_dependency", "wrong_value"],
        ),
        (
            '{"tool": "a/write", "arguments": {"path": 1, "text": "t"}}',
            CALL,
            ["misnamed_argument", "mistyped_argument"],
        ),
        ('{"tool": "a/write"}', CALL, ["missing_argument", "missing_argument"]),
        ('{"tool": "a/read", "arguments": {}}', CALL, ["wrong_tool"]),
        ('{"tool": "a/none", "arguments": {}}', CALL, ["invented_tool"]),
        ('{"answer": "t"}', CALL, ["missing_step"]),
        ("I would write it", CALL, ["prose"]),
        ('{"answer": "it was t."}', {"answer": ["t\n"]}, []),
        ('{"answer": "done"}', {"answer": ["t", "u"]}, ["lost_dependency", "lost_dependency"]),
        ('{"tool": "a/read", "answer": "t"}', {"answer": ["t"]}, ["invented_step"]),
    ],
)
def test_the_rule_for_one_call(text: str, right: dict[str, Any], made: list[str]) -> None:
    tally = Tally()
    count_step(text, right, TOOLS, tally)
    assert sorted(kind for kind, times in tally.made.items() for _ in range(times)) == made


def test_plans_and_calls_have_rates_of_their_own() -> None:
    planner = WeakPlanner([TASK], RateTable(always("prose"), NEVER, 0.0), 0)
    assert not planner.answer(asked()).startswith("{")
    assert json.loads(planner.answer(react.messages(REQUEST, [], TOOLS, 12)))["tool"] == "a/read"
    assert RateTable(always("prose"), NEVER, 0.5).scaled(0.3).plan["prose"] == 0.3


def test_names_that_spoil_a_plan_do_not_hide_its_mistakes() -> None:
    spoilt = {**ORACLE, "steps": [*ORACLE["steps"][:2], {**ORACLE["steps"][2], "after": ["a b", "s2", "s3"]}]}
    assert tallied(spoilt) == {}
    bare = {**ORACLE, "steps": [{**ORACLE["steps"][0], "tool": "read"}, *ORACLE["steps"][1:]]}
    assert tallied(bare) == {"invented_tool": 1}
    assert tallied(
        {**ORACLE, "steps": [{**ORACLE["steps"][0], "arguments": {"path": "z"}}, *ORACLE["steps"][1:]]}
    ) == {"wrong_value": 1}
