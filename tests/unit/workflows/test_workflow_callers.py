"""What stands around a caller: arguments are checked, calls counted, pure ones made once, finished ones not made again."""

import asyncio
import json
from pathlib import Path

import pytest
from scripted import Scripted

from workflows.callers import (
    Carried,
    Checked,
    Counted,
    Memo,
    Recorded,
    Recorder,
    Spent,
    call_key,
    cassette_lines,
)
from workflows.calling import Caller, Outcome, ToolRequest
from workflows.catalog import ToolSpec, catalog
from workflows.engine import run
from workflows.graph import Literal, OutputNode, Ref, ToolNode, Workflow
from workflows.journal import Journal, JournalError

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS = catalog([ToolSpec("s", "t", input_schema=SCHEMA), ToolSpec("s", "broken", input_schema={"type": 7})])


def ask(tool: str = "s/t", node: str = "a", attempt: int = 1, **arguments: object) -> ToolRequest:
    return ToolRequest(node, "", attempt, tool, arguments)


def call(caller: Caller, *requests: ToolRequest) -> list[Outcome]:
    async def together() -> list[Outcome]:
        return list(await asyncio.gather(*(caller.tool(request) for request in requests)))

    return asyncio.run(together())


def test_arguments_that_the_schema_refuses_reach_no_tool() -> None:
    inner = Scripted()
    found = call(Checked(inner, TOOLS), ask(n=1), ask(n="1"), ask(), ask("s/none"), ask("s/broken", x=1))
    assert [outcome.error for outcome in found] == [
        None,
        "arguments: n: '1' is not of type 'integer'",
        "arguments: 'n' is a required property",
        "there is no tool s/none",
        None,
    ]
    assert [request.tool for request in inner.asked] == ["s/t", "s/broken"]


def test_one_call_too_many_is_not_made() -> None:
    inner = Scripted()
    counted = Counted(inner, 2)
    call(counted, ask(), ask())
    with pytest.raises(Spent, match="2 tool calls"):
        call(counted, ask())
    assert len(inner.asked) == counted.tool_calls == 2


def test_pure_calls_are_made_once_also_at_the_same_time() -> None:
    inner = Scripted(lambda request: Outcome(len(inner.asked)))
    memo = Memo(inner, lambda tool: tool == "s/read")
    assert [o.value for o in call(memo, ask("s/read", n=1), ask("s/read", n=1), ask("s/read", n=2))] == [
        2,
        2,
        2,
    ]
    assert (len(inner.asked), memo.saved) == (2, 1)
    call(memo, ask("s/write"))
    assert [o.value for o in call(memo, ask("s/read", n=1))] == [4]  # what was read may have changed


def test_a_failure_is_not_remembered() -> None:
    answers = [Outcome(None, "broken"), Outcome(2)]
    memo = Memo(Scripted(lambda request: answers.pop(0)), lambda tool: True)
    assert [call(memo, ask())[0] for _ in range(3)] == [Outcome(None, "broken"), Outcome(2), Outcome(2)]


def test_what_an_earlier_run_did_stands_in_once_a_call() -> None:
    inner = Scripted(lambda request: Outcome("new"))
    carried = Carried(inner, [(ask(n=1), Outcome("first")), (ask(n=1), Outcome("second"))])
    found = [call(carried, ask(node=node, n=1))[0].value for node in ("x", "y", "z")]
    assert found == ["first", "second", "new"]


def test_a_recording_answers_without_a_call() -> None:
    answers = {1: Outcome("one"), 2: Outcome(None, "no")}
    recorder = Recorder(Scripted(lambda request: answers[int(str(request.arguments["n"]))]))
    call(recorder, ask(n=1), ask(n=2))
    played = Recorded(json.loads(json.dumps(cassette_lines(recorder.calls))))
    assert call(played, ask(n=1), ask(n=2), ask(n=1)) == [Outcome("one"), Outcome(None, "no"), Outcome("one")]
    assert call(played, ask(n=3))[0].error == "the recording has no such call"


def test_equal_arguments_are_equal_however_they_are_written() -> None:
    assert call_key("s/t", {"a": 1, "b": [2]}) == call_key("s/t", {"b": [2], "a": 1})
    assert call_key("s/t", {"a": 1}) != call_key("s/t", {"a": True})


FLOW = Workflow(
    "w",
    "",
    (
        ToolNode(id="a", tool="s/t", arguments={"n": Literal(1)}),
        ToolNode(id="b", tool="s/t", arguments={"n": Ref("a")}),
        OutputNode(id="out", text="{b}", values={"b": Ref("b")}),
    ),
)


def go(path: Path, inner: Caller, workflow: Workflow = FLOW) -> str | None:
    with Journal(inner, path, workflow, {}) as journal:
        return asyncio.run(run(workflow, {}, journal)).text


def test_a_journal_is_of_one_workflow_and_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert go(path, Scripted(lambda request: Outcome("x"))) == "x"
    other = Workflow("w", "", (*FLOW.nodes[:1], OutputNode(id="out", text="")))
    with pytest.raises(JournalError, match="another workflow"):
        go(path, Scripted(), other)
    with Journal(Scripted(), path, FLOW, {}), pytest.raises(JournalError, match="another process"):
        go(path, Scripted())
    path.write_text("no journal\n")
    with pytest.raises(JournalError, match="not a journal"):
        go(path, Scripted())


def test_every_byte_at_which_a_journal_may_have_been_cut_off(tmp_path: Path) -> None:
    """Whatever was lost of its end, nothing that ended is made again, and no write of unknown end."""
    path = tmp_path / "journal"
    go(path, Scripted(lambda request: Outcome(f"did {request.node}"), repeatable_tools=False))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 5
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = sum(1 for index in range(1, 6) if len(b"".join(lines[:index])) <= cut)
        inner = Scripted(lambda request: Outcome(f"did {request.node}"), repeatable_tools=False)
        text = go(path, inner)
        made = [request.node for request in inner.asked]
        if kept in (2, 4):  # a call was begun, and its end is not there
            assert (text, made) == (None, [])
        else:
            assert (text, made) == ("did b", ["a", "b"][max(0, (kept - 1) // 2) :])
