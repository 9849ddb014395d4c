"""The benchmark's tasks as data, and the verifier on worlds that are made up."""

from collections import Counter
from typing import Any

import pytest

from benchmarks.workflows.admission import unknowable, without
from benchmarks.workflows.tasks import draw_all, patterns
from benchmarks.workflows.verify import complaints
from workflows.calling import Outcome, ToolRequest
from workflows.verify import stands_in

READ = ToolRequest("s1", "", 1, "fs/read", {"path": "a.txt"})


def calls(value: object, error: str | None = None) -> list[tuple[ToolRequest, Outcome]]:
    return [(READ, Outcome(value, error))]


def test_halves_are_equal_and_ids_differ() -> None:
    found = patterns()
    assert len(found) >= 60
    assert len({pattern.id for pattern in found}) == len(found)
    assert Counter(pattern.split for pattern in found) == {"tune": len(found) // 2, "test": len(found) // 2}


@pytest.mark.parametrize("seed", range(5))
def test_what_an_oracle_knows_stands_in_the_request(seed: int) -> None:
    assert {task.id: names for task in draw_all(seed) if (names := unknowable(task))} == {}


def test_a_seed_draws_the_same_nonces_and_another_draws_others() -> None:
    assert draw_all(1) == draw_all(1)
    same = [one.id for one, other in zip(draw_all(1), draw_all(2), strict=True) if one.nonces == other.nonces]
    assert all(name.startswith(("time-", "all-")) for name in same), same


def test_a_step_less_leaves_nothing_where_its_result_was() -> None:
    plan = {
        "steps": [
            {"id": "s1", "tool": "a/b", "arguments": {}},
            {"id": "s2", "tool": "a/c", "arguments": {"x": "{s1.y.0}", "n": 3}, "after": ["s1"]},
        ],
        "answer": "it is {s1.y} and {s2}",
    }
    less = without(plan, "s1")
    assert less["steps"] == [{"id": "s2", "tool": "a/c", "arguments": {"x": "", "n": 3}, "after": []}]
    assert less["answer"] == "it is  and {s2}"


WORLD: dict[str, Any] = {"file:a.txt": "old", "table:t": [["x", 1]]}


@pytest.mark.parametrize(
    ("check", "value", "wrong"),
    [
        ({"equals": "new"}, "new", None),
        ({"equals": "new"}, "news", "file:a.txt: 'news' instead of 'new'"),
        ({"contains": ["n", 12]}, "n 12", None),
        ({"contains": ["n", 12]}, "n 123", "file:a.txt: without 12"),
        ({"gone": True}, "new", "file:a.txt: still there"),
        ({"first": "m"}, ["m", "l"], None),
        ({"first": "m"}, ["l", "m"], "file:a.txt: 'l' instead of 'm'"),
        ({"result": {"tool": "fs/read", "arguments": {}, "path": "y"}}, "Z", None),
        (
            {"result": {"tool": "fs/read", "arguments": {}, "path": "z"}},
            "Z",
            "file:a.txt: not what fs/read returned",
        ),
    ],
)
def test_what_has_to_hold_of_the_world(check: object, value: object, wrong: str | None) -> None:
    found = complaints(
        {"world": {"file:a.txt": check}}, WORLD, {**WORLD, "file:a.txt": value}, calls({"y": "Z"}), None
    )
    assert found == ([wrong] if wrong else [])


def test_a_change_that_nobody_asked_for_is_one() -> None:
    more = {"file:a.txt": "old", "file:b.txt": "?"}
    assert complaints({}, WORLD, more, [], None) == [
        "file:b.txt: changed, and nobody asked for it",
        "table:t: changed, and nobody asked for it",
    ]


def test_an_answer_counts_only_with_a_call_that_gave_it() -> None:
    verify = {"answer": ["tovaki"]}
    assert complaints(verify, {}, {}, calls({"content": "say tovaki"}), "tovaki") == []
    assert complaints(verify, {}, {}, calls({"content": "say tovaki"}), "no") == ["the answer lacks tovaki"]
    assert complaints(verify, {}, {}, [], "tovaki") == ["no call returned tovaki"]
    assert complaints(verify, {}, {}, calls("tovaki", "it failed"), "tovaki") == ["no call returned tovaki"]


def test_an_answer_may_have_to_show_what_a_call_returned() -> None:
    wanted = {"tool": "fs/read", "arguments": {"path": "a.txt"}, "path": "at", "part": r"T(\d\d:\d\d)"}
    happened = calls({"at": "2026-01-02T03:04:05"})
    assert complaints({"answer": [wanted]}, {}, {}, happened, "at 03:04") == []
    assert complaints({"answer": [wanted]}, {}, {}, happened, "at 03:05") == [
        "the answer lacks what fs/read returned"
    ]
    assert complaints({"answer": [{**wanted, "shown": False}]}, {}, {}, happened, "") == []
    other = {**wanted, "arguments": {"path": "b.txt"}}
    assert complaints({"answer": [other]}, {}, {}, happened, "at 03:04") == [
        "the answer lacks what fs/read returned"
    ]


def test_calls_have_to_be_made() -> None:
    assert complaints({"calls": [{"tool": "fs/read", "arguments": {}}]}, {}, {}, calls(""), None) == []
    assert complaints({"calls": [{"tool": "fs/list", "arguments": {}}]}, {}, {}, calls(""), None) == [
        "fs/list was not called as it has to be"
    ]


def test_a_number_does_not_stand_in_a_longer_one() -> None:
    assert stands_in("12", "a 12.")
    assert not stands_in("12", "a 123")
    assert not stands_in("12", "a 312")
