"""Drafts that each err make one plan that does not; what only one of them says, or nobody, is a doubt."""

import json
from typing import Any

import pytest

from tests.unit.workflows.planners import COPIED, COPY, TOOLS, changed
from workflows.grounding import Request
from workflows.plan import from_plan, to_plan
from workflows.solving.agree import Agreed, agree
from workflows.solving.coverage import undone, unused
from workflows.solving.drafts import read_draft
from workflows.solving.fields import fields

RIGHT = json.dumps(COPIED)
PROSE = "Sure! You can read file, then write file."
LOST = changed(1, arguments={"content": "<content of s1>"})
WRONG_TOOL = changed(0, tool="files/stat")
MISNAMED = changed(1, arguments={"path": None, "file_path": "b.txt"})
MISTYPED = changed(0, arguments={"path": ["a.txt"]})
ONLY_READS = json.dumps({**COPIED, "steps": COPIED["steps"][:1]})
ONLY_WRITES = json.dumps({**COPIED, "steps": COPIED["steps"][1:]})
INVENTED = json.dumps(
    {
        **COPIED,
        "steps": [*COPIED["steps"], {"id": "s3", "tool": "words/shout", "arguments": {"message": "result"}}],
    }
)


def agreed(*texts: str, request: str = COPY) -> Agreed:
    return agree([read_draft(text, TOOLS) for text in texts], TOOLS, Request(request, TOOLS))


def plan(found: Agreed) -> dict[str, Any]:
    return to_plan(from_plan(found.plan))


@pytest.mark.parametrize("text", [RIGHT, LOST, MISNAMED, MISTYPED, INVENTED])
def test_what_one_draft_leaves_no_doubt_about_is_put_right(text: str) -> None:
    found = agreed(text)
    assert plan(found) == COPIED
    assert found.doubts == ()


@pytest.mark.parametrize(
    "texts",
    [
        (WRONG_TOOL, RIGHT, LOST),
        (ONLY_READS, MISTYPED, PROSE),
        (PROSE, ONLY_WRITES, WRONG_TOOL, PROSE),
        (INVENTED, MISNAMED, WRONG_TOOL),
    ],
)
def test_drafts_that_each_err_agree_on_what_none_of_them_says(texts: tuple[str, ...]) -> None:
    found = agreed(*texts)
    assert plan(found) == COPIED
    assert plan(agreed(*reversed(texts))) == COPIED


def test_the_word_of_one_draft_against_another_is_a_doubt() -> None:
    assert any("only one draft says" in doubt for doubt in agreed(WRONG_TOOL, RIGHT).doubts)
    assert "no draft tells what its steps take" in agreed(PROSE, PROSE).doubts
    assert agreed("Nothing to call.").doubts


def test_what_is_guessed_is_told() -> None:
    gone = changed(1, arguments={"path": None})
    found = agreed(gone)
    assert plan(found) == COPIED
    assert ("files/write_file", "path", '"b.txt"') in found.guessed
    other = agree(
        [read_draft(gone, TOOLS)],
        TOOLS,
        Request(COPY, TOOLS),
        frozenset({("files/write_file", "path", '"b.txt"')}),
    )
    assert plan(other)["steps"][1]["arguments"]["path"] != "b.txt"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("It has [size] letters.", "It has {s1.size} letters."),
        ("<owner> owns it: [size]", "{s1.owner} owns it: {s1.size}"),
        ("[result]", "{s1}"),
        ("It is {s1.size}.", "It is {s1.size}."),
    ],
)
def test_an_answers_placeholders_become_results(answer: str, told: str) -> None:
    steps = [{"id": "s1", "tool": "files/stat", "arguments": {"path": "a.txt"}}]
    found = agreed(
        json.dumps({"steps": steps, "answer": answer}), request="Who owns a.txt, and how long is it?"
    )
    assert plan(found)["answer"] == told


def test_a_way_that_names_no_step_is_one_into_the_result_that_has_it() -> None:
    lost = changed(1, arguments={"content": "{content}"})
    assert plan(agreed(lost)) == COPIED
    steps = [{"id": "s1", "tool": "files/stat", "arguments": {"path": "a.txt"}}]
    text = json.dumps({"steps": steps, "answer": "{owner} has {clock.size} and {s1.size}."})
    assert plan(agreed(text, request="Who owns a.txt?"))["answer"].startswith("{s1.owner} has ")


def test_two_places_of_an_answer_tell_two_results() -> None:
    steps = [{"id": f"s{n}", "tool": "files/read_file", "arguments": {"path": f"{n}.txt"}} for n in (1, 2)]
    text = json.dumps({"steps": steps, "answer": "[content] and [content]"})
    found = agreed(text, request="What do 1.txt and 2.txt say?")
    assert plan(found)["answer"] == "{s1.content} and {s2.content}"


def test_a_value_that_nobody_said_is_not_taken() -> None:
    made_up = changed(0, arguments={"path": "data.txt"})
    assert all(step["arguments"].get("path") != "data.txt" for step in agreed(made_up).plan["steps"])


def test_steps_keep_the_order_in_which_they_are_written() -> None:
    ordered = changed(1, after=["s1"])
    mixed_up = changed(0, after=["s2"])
    assert [step.get("after", []) for step in agreed(mixed_up, ordered).plan["steps"]] == [[], ["s1"]]


def test_a_field_is_found_by_the_words_of_the_request_and_its_count() -> None:
    rows = {
        "type": "object",
        "properties": {"notes": {"type": "array", "items": {"type": "string"}}, "name": {"type": "string"}},
    }
    text = {"type": "string"}
    assert fields(rows, text, "write its second note into b.txt")[0].path == ("notes", "1")
    assert fields(rows, text, "write its name into b.txt")[0].path == ("name",)
    assert fields(rows, text, "write it", ("notes", "3"))[0].path == ("notes", "3")
    assert fields({}, text, "write it", ("any", "way"))[0].path == ("any", "way")


def test_what_a_request_asks_for_and_nobody_does() -> None:
    request = Request("Read the text of a.txt and shout the message: hello there", TOOLS)
    less = from_plan({"steps": COPIED["steps"][:1], "answer": ""})
    assert unused(less, request) == ["hello there"]
    assert list(undone(less, TOOLS, request)) == ["shout the message: hello there"]
    assert list(undone(from_plan(COPIED), TOOLS, Request(COPY, TOOLS))) == []
