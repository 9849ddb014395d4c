"""A draft that stands alone is told by the request's words which tools were meant; what one takes is not changed by that."""

import pytest

from tests.unit.workflows.planners import TOOLS
from workflows.grounding import Request
from workflows.solving.drafts import Draft, DraftStep
from workflows.solving.hints import hinted

READ = DraftStep("s1", "files/read_file", {"path": "a.txt"})
WRITE = DraftStep("s2", "files/write_file", {"path": "b.txt", "content": "{s1.content}"})
COPY = "Read the text of the file a.txt, then write text into the file b.txt."


def hinted_steps(request: str, *steps: DraftStep, named: tuple[str, ...] = ()) -> list[DraftStep]:
    draft, told = hinted(Draft(steps), TOOLS, Request(request, TOOLS), named)
    assert bool(told) == (draft.steps != steps)
    return list(draft.steps)


def tools(request: str, *steps: DraftStep, named: tuple[str, ...] = ()) -> list[str]:
    return [step.tool for step in hinted_steps(request, *steps, named=named)]


def test_a_tool_that_its_value_is_not_for_is_another_one() -> None:
    wrong = DraftStep("s2", "words/shout", {"message": "b.txt"})
    assert tools(COPY, READ, wrong) == ["files/read_file", "files/write_file"]


def test_a_value_that_nobody_takes_gets_a_step_where_its_tool_is_clear() -> None:
    assert tools(COPY, READ) == ["files/read_file", "files/write_file"]
    assert tools("Read the text of the file a.txt, and something about b.txt.", READ) == ["files/read_file"]


def test_what_takes_it_or_has_a_place_for_it_is_step_enough() -> None:
    assert hinted_steps(COPY, READ, WRITE) == [READ, WRITE]
    without = DraftStep("s2", "files/write_file", {"content": "{s1.content}"})
    assert hinted_steps(COPY, READ, without) == [READ, without]


def test_a_lookup_that_nobody_makes_is_made() -> None:
    request = "Read the text of the file a.txt and shout the message."
    assert tools(request, READ) == ["files/read_file", "words/shout"]


@pytest.mark.parametrize(("named", "made"), [((), False), (("files/write_file",), True)])
def test_a_change_for_no_more_than_words_is_made_only_where_the_writer_named_it(
    named: tuple[str, ...], made: bool
) -> None:
    request = "Read the text of the file a.txt and put text into a file by write."
    assert ("files/write_file" in tools(request, READ, named=named)) == made


def test_a_change_that_a_clause_calls_by_its_tools_name_is_made() -> None:
    request = "Read the text of the file a.txt and write text into a file."
    assert tools(request, READ) == ["files/read_file", "files/write_file"]


def test_a_step_that_is_read_and_not_there_is_the_lookup_that_is_missing() -> None:
    found = hinted_steps(COPY, WRITE)
    assert [(step.id, step.tool) for step in found] == [("s1", "files/read_file"), ("s2", "files/write_file")]


def test_it_comes_before_the_step_that_reads_it_whatever_the_words_are() -> None:
    shout = DraftStep("s2", "words/shout", {"message": "{s1.size}"})
    found = hinted_steps("Tell how long notes are, loudly.", shout)
    assert [step.id for step in found][-1] == "s2"


def test_what_names_tools_and_no_more_is_left_as_it_is() -> None:
    told = DraftStep("told0", "files/stat")
    assert tools("Read the text of the file a.txt and shout the message.", told) == ["files/stat"]
