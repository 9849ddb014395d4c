"""A request is done although the planner errs; what it costs has an end; what was changed is not changed twice."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.workflows.planners import COPIED, COPY, TOOLS, Files, Planner, changed
from workflows.calling import Outcome, ToolRequest
from workflows.planner import FAILED
from workflows.solving.solve import FRUITLESS, Limits, Solved, solve

ODD = json.dumps(
    {"steps": [{"id": "s1", "tool": "?", "arguments": {"path": "{s1.a\nb}"}}], "answer": "{s1.a\nb}"}
)
RIGHT = json.dumps(COPIED)
WRONG_TOOL = changed(0, tool="files/stat")
NO_PATH = changed(1, arguments={"path": None})
PROSE = "You can read file, then write file."


def solved(planner: Planner, files: Files, request: str = COPY, back: bool = True, **limits: Any) -> Solved:
    again = files.put_back if back else None
    return asyncio.run(solve(request, planner, TOOLS, files, limits=Limits(**limits), again=again))


def test_a_plan_without_doubts_is_run_at_once() -> None:
    planner, files = Planner(RIGHT), Files({"a.txt": "one"})
    found = solved(planner, files)
    assert files.files == {"a.txt": "one", "b.txt": "one"}
    assert found.text == "It is copied."
    assert (len(planner.asked), found.tool_calls, found.tokens) == (1, 2, 100)


def test_a_planner_that_errs_is_asked_until_its_drafts_agree() -> None:
    planner, files = (
        Planner(WRONG_TOOL, RIGHT, changed(1, arguments={"content": "1"})),
        Files({"a.txt": "one"}),
    )
    solved(planner, files)
    assert files.files["b.txt"] == "one"
    assert len(planner.asked) > 1


def test_one_that_talks_is_told_so() -> None:
    planner = Planner(PROSE, RIGHT)
    solved(planner, Files({"a.txt": "one"}))
    assert FAILED not in str(planner.asked[0])
    assert FAILED in str(planner.asked[1])


def test_what_failed_is_tried_with_another_guess() -> None:
    request = "Read the file one.txt or two.txt."
    nothing = {"steps": [{"id": "s1", "tool": "files/read_file", "arguments": {}}], "answer": "{s1.content}"}
    files = Files({"two.txt": "two"})
    found = solved(Planner(json.dumps(nothing)), files, request, drafts=1)
    assert found.text == "two"
    assert [call.arguments for call in files.calls] == [{"path": "one.txt"}, {"path": "two.txt"}]


class NoDisk(Files):
    """Of the tools that read a file one never does."""

    async def tool(self, request: ToolRequest) -> Outcome:
        if request.tool == "disk/load":
            self.calls.append(request)
            return Outcome(None, f"disk: {request.arguments['path']} is not there")
        return await super().tool(request)


def test_where_all_is_said_it_is_the_tool_that_failed_and_another_takes_its_place() -> None:
    plan = {
        "steps": [{"id": "s1", "tool": "disk/load", "arguments": {"path": "notes"}}],
        "answer": "{s1.content}",
    }
    files = NoDisk({"notes": "one"})
    found = solved(Planner(json.dumps(plan)), files, "What does the file notes hold?", drafts=1)
    assert found.text == "one"
    assert [call.tool for call in files.calls] == ["disk/load", "files/read_file"]


def test_a_step_that_failed_makes_room_for_those_that_the_request_tells_of() -> None:
    plan = {
        "steps": [
            {"id": "s1", "tool": "files/read_file", "arguments": {"path": "notes"}},
            {"id": "s2", "tool": "disk/load", "arguments": {"path": "notes"}, "after": ["s1"]},
        ],
        "answer": "It is copied.",
    }
    files = NoDisk({"notes": "one"})
    request = "Read the text of the file notes, then write text into the file b.txt."
    solved(Planner(json.dumps(plan)), files, request, drafts=1)
    assert files.files["b.txt"] == "one"
    first, second = ["files/read_file", "disk/load"], ["files/read_file", "files/write_file"]
    assert [call.tool for call in files.calls] == [*first, *second]


def test_what_worked_before_is_not_called_again_where_nothing_is_put_back() -> None:
    steps = [
        {"id": "s1", "tool": "files/stat", "arguments": {"path": "a.txt"}},
        {"id": "s2", "tool": "disk/load", "arguments": {}},
    ]
    plan = json.dumps({"steps": steps, "answer": "{s1.owner}: {s2.content}"})
    request = "Who owns a.txt? And load one.txt or two.txt."
    for back, looked in ((False, 1), (True, 2)):
        files = Files({"a.txt": "a", "two.txt": "two"})
        found = solved(Planner(plan), files, request, back=back, drafts=1)
        assert found.text == "ada: two"
        assert sum(call.tool == "files/stat" for call in files.calls) == looked


def test_what_changed_something_is_not_tried_again_unless_it_can_be_put_back() -> None:
    fails = {
        "steps": [
            {"id": "s1", "tool": "files/write_file", "arguments": {"path": "b.txt", "content": "one"}},
            {"id": "s2", "tool": "disk/load", "arguments": {}, "after": ["s1"]},
        ],
        "answer": "{s2.content}",
    }
    request = "Write one into b.txt, and load c.txt or d.txt."
    for back, writes in ((False, 1), (True, 2)):
        files = Files({"d.txt": "four"})
        found = solved(Planner(json.dumps(fails)), files, request, back=back, drafts=1)
        assert sum(call.tool == "files/write_file" for call in files.calls) == writes
        assert found.text == ("four" if back else None)


def test_what_the_planner_can_not_do_ends() -> None:
    for planner in (Planner("I can't."), Planner(None), Planner('{"steps": [], "answer": "Hi!"}')):
        found = solved(planner, Files({}))
        assert (found.text, found.workflow, len(planner.asked)) == (None, None, FRUITLESS)


def test_a_change_that_is_doubted_is_made_only_where_that_is_allowed() -> None:
    for allowed in (False, True):
        files = Files({"a.txt": "one"})
        found = solved(Planner(WRONG_TOOL), files, drafts=1, doubted_writes=allowed)
        assert found.tried[-1].doubts
        assert bool(files.calls) == allowed
        assert ("b.txt" in files.files) == allowed


@pytest.mark.parametrize(
    "plan",
    [
        {"steps": [{"id": "s1", "tool": "no tool at all", "arguments": {"": None}}], "answer": "{s1.a\nb}"},
        {
            "steps": [{"id": "S 1", "tool": "files/stat", "arguments": {"path": "{S 1.size}"}}],
            "answer": "{x}",
        },
        {"steps": [{"id": 1, "tool": {"a": 1}, "arguments": [], "after": 3}] * 40, "answer": "{{}"},
    ],
)
def test_a_plan_that_no_workflow_can_be_ends_as_none(plan: dict[str, Any]) -> None:
    found = solved(Planner(json.dumps(plan)), Files({"a.txt": "one"}), drafts=2)
    assert found.text is None or "one" not in found.text


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([RIGHT, WRONG_TOOL, NO_PATH, PROSE, ODD, "{", None]), min_size=1, max_size=6),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(100, 900),
)
def test_no_more_is_spent_than_may_be(texts: list[str | None], drafts: int, calls: int, tokens: int) -> None:
    planner, files = Planner(*texts), Files({"a.txt": "one"})
    found = solved(planner, files, drafts=drafts, tool_calls=calls, tokens=tokens)
    assert len(planner.asked) <= drafts
    assert len(files.calls) == found.tool_calls <= calls
    assert planner.tokens <= tokens + 100  # the question that used them up
    again = solved(Planner(*texts), Files({"a.txt": "one"}), drafts=drafts, tool_calls=calls, tokens=tokens)
    assert (again.text, again.workflow) == (found.text, found.workflow)


@pytest.mark.parametrize("text", ["stat", "read_file and shout"])
def test_a_result_that_nobody_said_is_in_no_answer(text: str) -> None:
    """An answer is built from what was executed, or there is none."""
    found = solved(Planner(f"You can {text} it."), Files({}), "Read the file nowhere.txt", drafts=2)
    assert found.text is None or "nowhere" not in found.text
