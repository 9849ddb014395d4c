"""A plan with the mistakes that small models make is put right from the request and the catalog alone."""

from typing import Any

import pytest

from workflows.catalog import ToolSpec, catalog
from workflows.edits import RunAfter
from workflows.grounding import Request, literals, ungrounded
from workflows.mending import mend
from workflows.plan import from_plan, to_plan

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def takes(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


CONTENT = {"type": "object", "properties": {"content": TEXT}}
TOOLS = catalog(
    [
        ToolSpec("files", "read", "Read a text file.", takes("path", path=TEXT), CONTENT, effect="read"),
        ToolSpec(
            "files", "write", "Write text into a file.", takes("path", "content", path=TEXT, content=TEXT)
        ),
        ToolSpec("math", "double", "Twice a number.", takes("number", number=NUMBER), NUMBER, effect="read"),
    ]
)
REQUEST = "Read a.txt and write its text into b.txt."
RIGHT: dict[str, Any] = {
    "steps": [
        {"id": "s1", "tool": "files/read", "arguments": {"path": "a.txt"}},
        {"id": "s2", "tool": "files/write", "arguments": {"path": "b.txt", "content": "{s1.content}"}},
    ],
    "answer": "Done.",
}


def slip(step: int, **changes: Any) -> dict[str, Any]:
    steps = [dict(one) for one in RIGHT["steps"]]
    arguments = {**steps[step]["arguments"], **changes.pop("arguments", {})}
    steps[step] |= {
        **changes,
        "arguments": {name: value for name, value in arguments.items() if value is not None},
    }
    return {**RIGHT, "steps": steps}


@pytest.mark.parametrize(
    "plan",
    [
        RIGHT,
        slip(1, arguments={"content": "the text of the file"}),
        slip(1, arguments={"content": None}),
        slip(1, arguments={"content": None, "text_to_write": "{s1.content}"}),
        slip(1, arguments={"content": "{s1.text}"}),
        slip(1, arguments={"content": "{s1}"}),
        slip(1, tool="files/write_file"),
        slip(0, arguments={"path": None, "filename": "a.txt"}),
        {
            **RIGHT,
            "steps": [*RIGHT["steps"], {"id": "extra", "tool": "math/double", "arguments": {"number": 7}}],
        },
    ],
)
def test_one_slip_is_put_right(plan: dict[str, Any]) -> None:
    mended = mend(from_plan(plan), TOOLS, REQUEST)
    assert mended.left == ()
    assert to_plan(mended.workflow) == RIGHT
    assert bool(mended.edits) == (plan != RIGHT)


def test_an_answer_that_tells_nothing_tells_the_result_that_nobody_reads() -> None:
    steps = [{"id": "s1", "tool": "files/read", "arguments": {"path": "a.txt"}}]
    mended = mend(from_plan({"steps": steps, "answer": "[content]"}), TOOLS, "What does a.txt say?")
    assert to_plan(mended.workflow) == {"steps": steps, "answer": "[content]\n{s1}"}


def test_steps_that_change_something_on_one_server_run_as_they_were_written() -> None:
    steps = [
        {"id": "s2", "tool": "files/write", "arguments": {"path": "b.txt", "content": "b"}},
        {"id": "s1", "tool": "files/write", "arguments": {"path": "a.txt", "content": "a"}},
    ]
    request = "Write b into b.txt and then a into a.txt."
    mended = mend(from_plan({"steps": steps, "answer": "Done."}), TOOLS, request)
    assert mended.edits == (RunAfter("s1", "s2"),)


def test_what_nothing_is_found_for_is_left_and_named() -> None:
    plan = slip(1, arguments={"content": "made up"}, id="s2")
    lonely = {**plan, "steps": plan["steps"][1:]}
    left = mend(from_plan(lonely), TOOLS, "Write something into b.txt.").left
    assert [(problem.kind, problem.node, problem.path) for problem in left] == [
        ("ungrounded", "s2", "arguments.content")
    ]


def test_what_a_request_says() -> None:
    request = "Set 'Total Amount' to 12.5 in conf/app.toml with the message: ship it now."
    assert {"Total Amount", "conf/app.toml", 12.5, "ship it now"} <= set(literals(request))
    asked = Request(request, TOOLS)
    assert all(
        asked.says(value) for value in ("total amount", 12.5, ["ship", "now"], True, None, "SET amount = 3")
    )
    assert not any(asked.says(value) for value in ("Totals", 13, ["ship", "later"], "a text", "data.txt"))
    workflow = from_plan(RIGHT)
    assert list(ungrounded(workflow, TOOLS, Request(REQUEST, TOOLS))) == []
    assert [problem.path for problem in ungrounded(workflow, TOOLS, Request("Copy a.txt.", TOOLS))] == [
        "arguments.path"
    ]
