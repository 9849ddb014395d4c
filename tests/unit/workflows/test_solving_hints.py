"""A draft that stands alone is told by the request's words which tool was meant; nothing is changed by that."""

from tests.unit.workflows.planners import TOOLS
from workflows.grounding import Request
from workflows.solving.drafts import Draft, DraftStep
from workflows.solving.hints import hinted

READ = DraftStep("s1", "files/read_file", {"path": "a.txt"})


def tools(request: str, *steps: DraftStep) -> list[str]:
    draft, told = hinted(Draft(steps), TOOLS, Request(request, TOOLS))
    assert bool(told) == (draft.steps != steps)
    return [step.tool for step in draft.steps]


def test_a_tool_that_its_clause_is_not_about_is_another_one() -> None:
    wrong = DraftStep("s2", "words/shout", {"message": "b.txt"})
    assert tools("Read the text of the file a.txt, then write text into the file b.txt.", READ, wrong) == [
        "files/read_file",
        "files/write_file",
    ]


def test_a_lookup_that_nobody_makes_is_made_and_a_change_is_not() -> None:
    assert tools("Read the text of the file a.txt and shout the message.", READ) == [
        "files/read_file",
        "words/shout",
    ]
    assert tools("Read the text of the file a.txt and write text into a file.", READ) == ["files/read_file"]


def test_what_names_tools_and_no_more_is_left_as_it_is() -> None:
    told = DraftStep("told0", "files/stat")
    assert tools("Read the text of the file a.txt and shout the message.", told) == ["files/stat"]
