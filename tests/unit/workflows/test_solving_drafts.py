"""Whatever a planner writes is read for what there is in it, and its steps find their like in other drafts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workflows.planners import COPIED, COPY, TOOLS
from workflows.grounding import Request
from workflows.solving.align import align
from workflows.solving.drafts import Draft, DraftStep, read_draft
from workflows.solving.placeholders import slots, without_slots

WHOLE = json.dumps(COPIED)
texts = st.text(max_size=60) | st.sampled_from(
    [WHOLE, WHOLE[:90], "read_file, then {s1} [x] <y of s2>", '"steps": [{']
)


def tools(draft: Draft) -> list[str]:
    return [step.tool for step in draft.steps]


def test_a_plan_is_read_also_from_within_prose() -> None:
    draft = read_draft(f"Here you are:\n```json\n{WHOLE}\n```\nGood luck!", TOOLS)
    assert tools(draft) == ["files/read_file", "files/write_file"]
    assert (draft.answer, draft.whole) == ("It is copied.", True)


def test_of_half_a_plan_the_whole_steps_count() -> None:
    cut = WHOLE[: WHOLE.index('"b.txt"')]
    draft = read_draft(cut, TOOLS)
    assert tools(draft) == ["files/read_file"]
    assert (draft.answer, draft.whole) == (None, False)


@pytest.mark.parametrize(
    ("prose", "named"),
    [
        ("First I would read file a.txt, then WRITE-FILE b.txt.", ["files/read_file", "files/write_file"]),
        ("`files/read_file` twice: read_file", ["files/read_file", "files/read_file"]),
        ("I misread files and overwrite_files.", []),
        ("I can't help with that.", []),
    ],
)
def test_prose_tells_tools_in_their_order(prose: str, named: list[str]) -> None:
    assert tools(read_draft(prose, TOOLS)) == named


def test_what_prose_changes_it_changes_in_its_order() -> None:
    read, first, second = read_draft("Read file, then write file, then write file.", TOOLS).steps
    assert (read.after, first.after, second.after) == ((), (), (first.id,))


@given(st.lists(texts, max_size=3).map(" ".join))
def test_no_text_is_too_strange_to_be_read(text: str) -> None:
    draft = read_draft(text, TOOLS)
    assert all(isinstance(step.arguments, dict) for step in draft.steps)


@given(texts)
def test_slots_stand_where_they_say(text: str) -> None:
    found = slots(text)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert without_slots(text, found).count("\0") == len(found) + text.count("\0")


steps = st.builds(
    DraftStep,
    id=st.sampled_from(["s1", "s2", "s3"]),
    tool=st.sampled_from([spec.key for spec in TOOLS]),
    arguments=st.dictionaries(
        st.sampled_from(["path", "content"]), st.sampled_from(["a.txt", "b.txt", "{s1}", "?"])
    ),
)


@given(st.lists(st.lists(steps, max_size=4).map(lambda made: Draft(tuple(made))), max_size=4))
def test_aligned_each_step_stands_in_one_column_in_its_drafts_order(drafts: list[Draft]) -> None:
    columns = align(drafts, Request(COPY, TOOLS))
    for number, draft in enumerate(drafts):
        assert [column.cells[number] for column in columns if number in column.cells] == list(draft.steps)


def test_a_wrong_tool_stands_beside_the_right_one_and_another_call_apart() -> None:
    read = [
        DraftStep("s1", "files/read_file", {"path": "a.txt"}),
        DraftStep("s2", "files/read_file", {"path": "b.txt"}),
    ]
    wrong = [DraftStep("s1", "files/stat", {"path": "a.txt"})]
    first, second = align([Draft(tuple(read)), Draft(tuple(wrong))], Request(COPY, TOOLS))
    assert first.cells == {0: read[0], 1: wrong[0]}
    assert second.cells == {0: read[1]}


def test_two_calls_that_take_different_things_are_two_whatever_they_are_called() -> None:
    one, other = (
        DraftStep("s1", "files/read_file", {"path": "a.txt"}),
        DraftStep("s1", "files/read_file", {"path": "b.txt"}),
    )
    columns = align([Draft((one,)), Draft((other,))], Request(COPY, TOOLS))
    assert [column.cells for column in columns] == [{0: one}, {1: other}]
