"""A task's verifiers say what is done and what is not, whatever the answer claims, and the published schema says how to
write one."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from evolve.errors import BadInput
from evolve.workflow_search import harmless
from evolve.workflow_task import Task, Verify, json_schema, read_task
from evolve.workflow_verify import Verdict, verified
from workflows.calling import Outcome, ToolRequest
from workflows.catalog import ToolSpec, catalog
from workflows.servers.file import ServersFile

PUBLISHED = Path(__file__).parents[3] / "docs/schemas/workflow_task.schema.json"


def call(
    tool: str, value: object, error: str | None = None, **arguments: object
) -> tuple[ToolRequest, Outcome]:
    return ToolRequest("s", "", 1, tool, arguments), Outcome(value, error)


MADE = [
    call("a/read", {"text": 'says "hi"\nand 1234', "n": 7}, path="x"),
    call("a/write", None, "denied", path="y"),
]


def judged(folder: Path, said: str | None = None, **verify: Any) -> Verdict:
    return asyncio.run(verified(Verify.model_validate(verify), said, MADE, folder))


@pytest.mark.parametrize(
    ("answer", "verify", "share"),
    [
        ('He says "hi"\nand', {"answer": ['says "hi"\nand']}, 1.0),
        ("It is 1234.", {"answer": ["1234"]}, 1.0),
        ("It is 12345.", {"answer": ["1234"]}, 0.0),
        ("It is 123.", {"answer": ["123"]}, 0.0),
        ("7", {"answer": ["7", "8"]}, 0.5),
        ("guessed", {"answer": ["guessed"]}, 0.0),
        (None, {"answer": ["7"]}, 0.0),
        (None, {"calls": [{"tool": "a/read", "arguments": {"path": "x"}}]}, 1.0),
        (None, {"calls": [{"tool": "a/read", "arguments": {"path": "z"}}, {"tool": "a/read"}]}, 0.5),
        (None, {"calls": [{"tool": "a/write"}]}, 0.0),
    ],
)
def test_answers_and_calls(tmp_path: Path, answer: str | None, verify: dict[str, Any], share: float) -> None:
    verdict = judged(tmp_path, answer, **verify)
    assert verdict.share == share
    assert bool(verdict.complaints) == (share < 1)


def test_files_and_a_command(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one 12\n")
    (tmp_path / "b").write_bytes(b"\xff")
    (tmp_path / "link").symlink_to("nowhere")
    files = {
        "a": {"equals": "one 12\n"}, "./a": {"contains": ["one", "12"]}, "../" + tmp_path.name + "/a": {"contains": ["1"]},
        "b": {"contains": ["x"]}, "c": {"gone": True}, "link": {"gone": True}, "d": {"equals": ""},
    }  # fmt: skip
    verdict = judged(tmp_path, files=files)
    assert {line.partition(":")[0] for line in verdict.complaints} == {
        f"../{tmp_path.name}/a",
        "b",
        "link",
        "d",
    }
    check = "import sys; sys.exit(sys.stdin.read() != 'right')"
    assert judged(tmp_path, "right", command=[sys.executable, "-c", check]).share == 1
    assert judged(tmp_path, "wrong", command=[sys.executable, "-c", check]).share == 0
    with pytest.raises(BadInput, match="no-such-program"):
        judged(tmp_path, command=["no-such-program"])


def test_a_command_that_hangs_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve.workflow_verify.SECONDS", 0.2)
    verdict = judged(tmp_path, "", command=[sys.executable, "-c", "import time; time.sleep(60)"])
    assert "took longer" in verdict.complaints[0]


def test_the_published_schema_is_not_stale_and_takes_what_the_reader_takes() -> None:
    assert json.loads(PUBLISHED.read_text()) == json_schema(), (
        "run `python -m evolve.workflow_task docs/schemas`"
    )
    task = {"request": "x", "cases": [{"inputs": {"a": 1}, "verify": {"files": {"a": {"gone": True}}}}]}
    Draft202012Validator(json_schema()).validate(task)
    assert not Draft202012Validator(json_schema()).is_valid({**task, "reqest": ""})


def test_types_of_inputs_come_from_all_cases_and_plans_know_them(tmp_path: Path) -> None:
    plan = {"steps": [], "answer": "{inputs.a}"}
    verify = {"answer": ["x"]}
    cases = [{"inputs": {"a": value}, "verify": verify} for value in (1, "x")]
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"request": "x", "workflow": plan, "cases": cases}))
    task = read_task(path)
    assert task.input_types == {"a": {"type": ["integer", "string"]}}
    start = task.begin_with()
    assert start is not None
    assert start.inputs == task.input_types


def servers(state: list[str] | None) -> ServersFile:
    return ServersFile.model_validate(
        {"mcpServers": {"a": {"command": "a", **({} if state is None else {"state": state})}}}
    )


def test_only_what_reads_or_is_put_back_or_is_named_may_be_called() -> None:
    tools = catalog([ToolSpec("a", "read", effect="read"), ToolSpec("a", "write"), ToolSpec("a", "burn")])
    task = {"request": "x", "verify": {"answer": ["x"]}}
    for state, named, expected in (
        (None, [], {"a/read"}),
        (None, ["a/burn"], {"a/read", "a/burn"}),
        ([], [], {"a/read", "a/write", "a/burn"}),
    ):
        found = harmless(tools, servers(state), Task.model_validate({**task, "tools": named}))
        assert found.tools.keys() == expected
    wants = Task.model_validate({"request": "x", "verify": {"calls": [{"tool": "a/write"}]}})
    with pytest.raises(BadInput, match="nobody puts back"):
        harmless(tools, servers(None), wants)
    with pytest.raises(BadInput, match="which no server has"):
        harmless(tools, servers([]), Task.model_validate({**task, "tools": ["a/paint"]}))
