"""When a run proposes workflows, too, and what it tells whoever improves them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from web_flows import clock

from evidence.cases import Cassette, RecordedCall, RecordedTurn, VisibleCase
from evolve import worktree
from evolve.context import RunContext
from evolve.proposal import proposers
from evolve.settings import RunSection
from evolve.stages.locate import workflows_of
from evolve.stages.material import MOST_CALLS, MOST_CHARS, material
from evolve.stages.models import Located, Suspect
from workflows.codec import from_json

FILE = "workflows/library/world_clock.json"
NONE = Located(suspects=(Suspect(file="a.py", line=1, score=1.0),), failing_replays=1, passing_replays=1)
RAN = NONE.model_copy(update={"suspects": (*NONE.suspects, Suspect(file=FILE, line=1, score=0.5))})


def coders(located: Located, iteration: int = 1, **section: Any) -> list[str]:
    run = RunSection(**section)
    return proposers(cast(RunContext, SimpleNamespace(settings=SimpleNamespace(run=run))), iteration, located)


def test_workflows_are_proposed_beside_the_coders_where_failing_turns_ran_one() -> None:
    assert coders(RAN) == ["mend", "workflows"]
    assert coders(NONE) == ["mend"]
    assert coders(RAN, workflows="off") == ["mend"]
    assert coders(RAN, workflows="any_tool") == ["mend", "workflows"]


def test_named_as_a_coder_it_takes_turns_like_any_other() -> None:
    assert coders(NONE, coder="workflows") == ["workflows"]
    assert coders(RAN, coder="mend,workflows", candidates=3) == ["mend", "workflows", "mend"]


def test_coders_take_turns_over_the_passes() -> None:
    found = [coders(NONE, iteration, coder="a,b", candidates=3) for iteration in (1, 2)]
    assert found == [["a", "b", "a"], ["b", "a", "b"]]


def test_who_may_not_propose_is_not_started() -> None:
    assert "workflows" in RunSection().everybody
    assert "workflows" not in RunSection(workflows="off").everybody
    assert "workflows" in RunSection(workflows="off", coder="workflows").everybody


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ("world_clock_first", True),
        ("world_clock_second_each.3_2", True),
        ("world_clock_third", False),
        ("world_clock_firstly", False),
        ("first", False),
        (None, False),
    ],
)
def test_a_workflow_ran_when_a_step_of_its_made_a_call_in_the_turn(call: object, found: bool) -> None:
    shipped = {FILE: from_json(clock()), "other.json": from_json({**clock(), "name": "other"})}
    event = {"turn": "t-1", "kind": "tool_call", "call_id": call}
    assert list(workflows_of("t-1", [event], shipped)) == ([FILE] if found else [])
    assert list(workflows_of("t-2", [event], shipped)) == []


def call(order: int, target: str, response: object, kind: Any = "tool") -> RecordedCall:
    return RecordedCall(
        kind=kind, target=target, request_id="r", request={"name": "x", "arguments": {"n": order}},
        response=response, start_order=order, end_order=order, latency=0.0,
    )  # fmt: skip


def test_beside_the_task_lies_what_tools_there_are_and_what_they_answered(tmp_path: Path) -> None:
    tree, repository = tmp_path / "tree", tmp_path / "repository"
    tree.mkdir()
    (tree / "a.py").write_text("x = 1\n")
    commit = worktree.create_repository(repository, tree, "first")
    answered = {"result": {"content": [], "structuredContent": {"a": 1}}}
    calls = (
        call(1, "time/convert_time", answered),
        call(2, "time/convert_time", {"error": {"code": 1}}),
        call(3, "time#tools/list", answered),
        call(4, "/v1/chat/completions", answered, "model"),
        call(5, "time/long", {"result": "x" * MOST_CHARS}),
        call(6, "time/bare", {"content": []}),
        *(call(number, "time/many", answered) for number in range(7, 7 + MOST_CALLS)),
    )
    catalog: dict[str, object] = {"time": {"tools/list": {"tools": [{"name": "convert_time"}]}}}
    turn = RecordedTurn(request_id="r", session="s", path="/", body={})
    case = VisibleCase(
        id="c", evidence_id="e", fingerprint="f", turn=turn, cassette=Cassette(calls=calls, catalog=catalog)
    )
    bare = SimpleNamespace(
        settings=SimpleNamespace(substrate_repository=repository), batch=SimpleNamespace(visible=(case,))
    )
    told = json.loads(material(cast(RunContext, bare), commit, ())["tools.json"])
    assert told["listed"] == catalog
    assert told["calls"][0] == {
        "tool": "time/convert_time",
        "arguments": {"n": 1},
        "result": answered["result"],
    }
    assert told["calls"][1] == {"tool": "time/bare", "arguments": {"n": 6}, "result": {"content": []}}
    assert len(told["calls"]) == MOST_CALLS
