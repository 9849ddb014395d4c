"""What prose that names tools leaves open is read from the request: by the words before a value, by what it looks like, by
the clause that a step is about."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workflows.planners import TEXT, takes
from workflows.catalog import ToolSpec, catalog
from workflows.grounding import Request
from workflows.solving.agree import agree
from workflows.solving.align import Column
from workflows.solving.drafts import Draft, DraftStep
from workflows.solving.homes import homes
from workflows.solving.kinds import kind, suits
from workflows.solving.meant import meant
from workflows.solving.naming import Named
from workflows.solving.nested import nested
from workflows.solving.refusals import tool_in_place
from workflows.solving.values import fitting
from workflows.tool_search import clause_spans

TEXTS = {"type": "array", "items": TEXT}
ENTITY = {
    "type": "object",
    "properties": {"name": TEXT, "entityType": TEXT, "observations": TEXTS},
    "required": ["name", "entityType", "observations"],
}
EDIT = {
    "type": "object",
    "properties": {"oldText": TEXT, "newText": TEXT},
    "required": ["oldText", "newText"],
}
CONTENT = {"type": "object", "properties": {"content": TEXT}, "required": ["content"]}
CLOCK = {
    "type": "object",
    "properties": {"datetime": TEXT, "timezone": TEXT},
    "required": ["datetime", "timezone"],
}


def many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TOOLS = catalog(
    [
        ToolSpec("files", "read_file", "Read the text of a file.", takes(path=TEXT), CONTENT, effect="read"),
        ToolSpec("files", "write_file", "Write text into a file.", takes(path=TEXT, content=TEXT), TEXT),
        ToolSpec("files", "edit_file", "Replace text in a file.", takes(path=TEXT, edits=many(EDIT)), TEXT),
        ToolSpec("files", "find_files", "Find files.", takes(path=TEXT, pattern=TEXT), TEXT, effect="read"),
        ToolSpec("files", "make_directory", "Make a new directory.", takes(path=TEXT), TEXT),
        ToolSpec("git", "add", "Add files to the index.", takes(repo_path=TEXT, files=TEXTS), TEXT),
        ToolSpec("git", "commit", "Commit staged changes of a repository.", takes(repo_path=TEXT, message=TEXT), TEXT),
        ToolSpec("git", "create_branch", "Create a branch.", takes(repo_path=TEXT, branch_name=TEXT), TEXT),
        ToolSpec("graph", "create_entities", "Create entities of a type with an observation.", takes(entities=many(ENTITY))),
        ToolSpec("graph", "open_nodes", "Open nodes by their names.", takes(names=TEXTS), TEXT, effect="read"),
        ToolSpec("time", "now", "The current time in a timezone.", takes(timezone=TEXT), CLOCK, effect="read"),
        ToolSpec(
            "time",
            "convert_time",
            "Convert a time between timezones.",
            takes(source_timezone=TEXT, time=TEXT, target_timezone=TEXT),
            CLOCK,
            effect="read",
        ),
    ]
)  # fmt: skip


def bound(request: str, *tools: str) -> list[dict[str, Any]]:
    draft = Draft(tuple(DraftStep(f"told{number}", tool) for number, tool in enumerate(tools)))
    steps = agree([draft], TOOLS, Request(request, TOOLS)).plan["steps"]
    assert [step["tool"] for step in steps] == list(tools)
    return [step["arguments"] for step in steps]


@pytest.mark.parametrize(
    ("request_", "tool", "arguments"),
    [
        (
            "Create the branch lumo in the git repository repo.",
            "git/create_branch",
            {"repo_path": "repo", "branch_name": "lumo"},
        ),
        (
            'Commit the staged changes in repo with the message "fix the lamp".',
            "git/commit",
            {"repo_path": "repo", "message": "fix the lamp"},
        ),
        (
            "Add the files a.txt, b.txt and c.txt to the index of the repository repo.",
            "git/add",
            {"repo_path": "repo", "files": ["a.txt", "b.txt", "c.txt"]},
        ),
        ("Open the nodes lumo and kiru.", "graph/open_nodes", {"names": ["lumo", "kiru"]}),
        ("Make a new directory called lumo.", "files/make_directory", {"path": "lumo"}),
        (
            "Find what is named *.lumo under data/old.",
            "files/find_files",
            {"path": "data/old", "pattern": "*.lumo"},
        ),
        ("Write the word lumo into k.txt.", "files/write_file", {"path": "k.txt", "content": "lumo"}),
        (
            'In k.ini replace "lumo" by "kiru".',
            "files/edit_file",
            {"path": "k.ini", "edits": [{"oldText": "lumo", "newText": "kiru"}]},
        ),
        (
            "Create the entity lumo of type person with the observation: likes kiru",
            "graph/create_entities",
            {"entities": [{"name": "lumo", "entityType": "person", "observations": ["likes kiru"]}]},
        ),
        (
            "Convert 07:15 from America/Lima to Europe/Rome.",
            "time/convert_time",
            {"source_timezone": "America/Lima", "time": "07:15", "target_timezone": "Europe/Rome"},
        ),
    ],
)
def test_each_argument_takes_what_the_request_names_for_it(
    request_: str, tool: str, arguments: object
) -> None:
    assert bound(request_, tool) == [arguments]


def test_each_step_takes_what_its_own_clause_names() -> None:
    request = "Read the file a.txt, write its text into the file repo/V, add V in the git repository repo and commit it."
    assert bound(request, "files/read_file", "files/write_file", "git/add") == [
        {"path": "a.txt"},
        {"path": "repo/V", "content": "{s1.content}"},
        {"repo_path": "repo", "files": ["V"]},
    ]


def test_a_result_is_that_of_the_clause_before_and_not_of_one_behind() -> None:
    request = (
        "Read a.txt and write it into b.txt; get the time in Asia/Tokyo and write its datetime into c.txt."
    )
    found = bound(request, "files/read_file", "time/now", "files/write_file", "files/write_file")
    assert {step["path"]: step["content"] for step in found[2:]} == {
        "b.txt": "{s1.content}",
        "c.txt": "{s2.datetime}",
    }


def test_of_two_results_it_is_that_of_what_stands_before() -> None:
    steps = (
        DraftStep("s1", "files/read_file", {"path": "a.txt"}),
        DraftStep("s2", "files/read_file", {"path": "c.txt"}),
        DraftStep("s3", "files/write_file", {"path": "b.txt"}),
    )
    request = Request("Read a.txt and write what it says into b.txt; read c.txt.", TOOLS)
    found = agree([Draft(steps)], TOOLS, request).plan["steps"]
    assert found[2]["arguments"] == {"path": "b.txt", "content": "{s1.content}"}


def test_what_stands_in_the_clause_of_a_step_goes_before_what_is_nearer_to_it() -> None:
    request = "This is about lumo, now open that which is within what is under kiru."
    assert bound(request, "graph/open_nodes") == [{"names": ["kiru"]}]


def test_a_piece_of_a_value_is_none_unless_it_stands_alone_too() -> None:
    assert Request("Write it into repo/VERSION.", TOOLS).candidates == ["repo/VERSION"]
    assert Request("Say: hello Lumo", TOOLS).candidates == ["hello Lumo"]
    assert Request("Write it into repo/VERSION in repo.", TOOLS).candidates == ["repo/VERSION", "repo"]


def test_of_two_tools_that_may_stand_for_one_that_failed_it_is_the_one_that_only_reads() -> None:
    few = catalog(
        [
            ToolSpec("x", "note", "A note.", takes(id=TEXT), effect="read"),
            ToolSpec("y", "note", "A note.", takes(id=TEXT)),
            ToolSpec("z", "note", "A note.", takes(id=TEXT)),
        ]
    )
    column = Column({0: DraftStep("s1", "z/note", {"id": "lumo"})})
    failed = frozenset({tool_in_place("z/note", column.given)})
    assert meant(column, few, {}, Request("The note lumo", few), failed) == ("x/note", 0)


def test_a_schema_that_requires_what_is_no_name_is_read_all_the_same() -> None:
    odd = {"type": "object", "properties": {"1": TEXT}, "required": [1]}
    assert nested(odd, lambda name, schema: [Named(1.0, False, "lumo")]) == {"1": "lumo"}


def test_of_a_request_without_end_the_beginning_is_read() -> None:
    endless = Request(" ".join(f"f{number}.txt lumo{number}," for number in range(5000)), TOOLS)
    assert endless.marked[0] == endless.candidates[0] == "f0.txt"
    assert len(endless.text) < 10_000
    assert max(len(endless.marked), len(endless.candidates)) < 100


def test_a_noun_that_tells_what_a_name_is_is_none() -> None:
    assert Request("Add the lamp kiru and the big chair lumo.", TOOLS).candidates == ["kiru", "lumo"]


def test_a_value_alone_between_and_and_is_no_clause() -> None:
    text = "Read the file a.txt and b.txt and write text."
    first, second, third = homes(["files/read_file", "files/read_file", "files/write_file"], TOOLS, text)
    assert first == second == (0, text.index("and write"))
    assert text[slice(*third)] == " write text."


def test_words_that_name_nothing_are_no_values() -> None:
    assert bound("Open the node of lumo and tell me about it.", "graph/open_nodes") == [{"names": ["lumo"]}]


@pytest.mark.parametrize(
    ("value", "looks", "argument", "other"),
    [
        ("10:45", "time", "time", "timezone"),
        ("Asia/Tokyo", "timezone", "source_timezone", "path"),
        ("2026-01-31", "date", "due_date", "time"),
        ("https://example.org/a", "url", "url", "pattern"),
        ("ada@example.org", "email", "email", "path"),
        ("**/*.py", "pattern", "pattern", "path"),
        ("a/b.txt", "path", "path", "time"),
    ],
)
def test_what_a_value_looks_like_tells_for_which_argument_it_is(
    value: str, looks: str, argument: str, other: str
) -> None:
    assert kind(value) == looks
    assert suits(value, argument) > 0 > suits(value, other)
    assert suits(value, "comment") == 0


def test_a_plain_word_may_be_a_path_but_no_time() -> None:
    assert suits("repo", "repo_path") == 0 > suits("repo", "time")


@given(st.text(alphabet="ab .,;?!", max_size=60), st.lists(st.sampled_from([*TOOLS.tools]), max_size=6))
def test_homes_follow_one_another_in_the_text(text: str, tools: list[str]) -> None:
    found = homes(tools, TOOLS, text)
    assert len(found) == len(tools)
    assert found == sorted(found)
    assert all(0 <= start <= end <= len(text) for start, end in found)


@given(st.text(max_size=120))
def test_clauses_cover_the_text_but_for_what_parts_them(text: str) -> None:
    spans = clause_spans(text)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@given(
    st.text(alphabet='ab":/.*, and', max_size=50),
    st.lists(st.sampled_from([*TOOLS.tools]), min_size=1, max_size=4),
)
def test_whatever_is_bound_is_of_the_type_that_is_taken(text: str, tools: list[str]) -> None:
    for tool, arguments in zip(tools, bound(text, *tools), strict=True):
        properties = TOOLS.tools[tool].input_schema["properties"]
        for name, value in arguments.items():
            assert str(value).startswith("{s") or fitting(value, properties[name]) is not None
