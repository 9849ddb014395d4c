"""`evolve workflow search` as an operator uses it, with a real MCP server whose file is put back between candidates."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from leftovers import lasting_processes

from benchmarks.workflows import wire

EVOLVE = [sys.executable, "-m", "evolve.cli.main", "workflow"]
PATIENCE = 240
BEFORE = "old line\n"
PLAN = {
    "steps": [
        {"id": "s1", "tool": "notes/append_line", "arguments": {"text": "buy milk"}},
        {"id": "s2", "tool": "notes/read", "arguments": {}},
    ],
    "answer": "Done",
}
TASK: dict[str, Any] = {
    "request": "Append the line 'buy milk' to the notes and tell me all of them.",
    "workflow": PLAN,
    "verify": {
        "answer": ["old line", "buy milk"],
        "calls": [{"tool": "notes/append", "arguments": {"text": "buy milk"}}],
        "files": {"notes.txt": {"equals": BEFORE + "buy milk\n"}},
        "command": ["grep", "-q", "buy milk", "notes.txt"],
    },
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text(BEFORE)
    write(tmp_path, TASK)
    servers(tmp_path, state=["notes.txt"])
    return tmp_path


def write(place: Path, task: dict[str, Any]) -> None:
    (place / "task.json").write_text(json.dumps(task))


def servers(place: Path, **more: Any) -> None:
    program = Path(__file__).with_name("notes_mcp.py")
    notes = {"command": sys.executable, "args": [str(program), str(place / "notes.txt"), "0.01"], **more}
    (place / "servers.json").write_text(json.dumps({"mcpServers": {"notes": notes}}))


def search(place: Path, *words: str, verb: str = "search") -> subprocess.CompletedProcess[str]:
    command = [*EVOLVE, verb, "--catalog", "servers.json", *words]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE)


def searched(place: Path, *words: str, code: int = 0) -> dict[str, Any]:
    done = search(place, "--task", "task.json", "--json", *words)
    assert done.returncode == code, done.stderr + done.stdout
    assert (place / "notes.txt").read_text() == BEFORE
    assert lasting_processes(place) == []
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_wrong_plan_becomes_one_that_does_the_task_and_the_notes_stay_as_they_were(place: Path) -> None:
    found = searched(place, "--out", "best.json", "--seed", "3")
    assert (found["completion"], found["ended"], found["generations"]) == (1.0, "complete", 0)
    assert found["cost"] == found["latency"] == 2  # one after the other, for they would race
    assert found["spent"]["tool_calls"] < 40
    assert json.loads((place / "best.json").read_text()) == found["workflow"]
    assert found["course"][-1]["digest"] == found["digest"]
    ran = search(place, "best.json", verb="run")
    assert "buy milk" in ran.stdout
    assert (place / "notes.txt").read_text() == BEFORE + "buy milk\n"


def test_what_can_not_be_done_ends_at_the_limit_with_the_best_that_there_was(place: Path) -> None:
    write(place, {**TASK, "verify": {"answer": ["old line", "a line that is nowhere"]}})
    found = searched(place, "--max-tool-calls", "9", code=1)
    assert (found["completion"], found["ended"]) == (0.5, "tool_calls")
    assert found["spent"]["tool_calls"] <= 9
    assert found["complaints"] == ["the answer lacks 'a line that is nowhere'"]
    shown = search(place, "--task", "task.json", "--max-seconds", "0.01")
    assert shown.returncode == 1
    assert "ended: seconds" in shown.stdout


def test_a_model_plans_for_several_cases_within_its_tokens(place: Path) -> None:
    asked: list[str] = []

    def model(messages: Sequence[dict[str, str]]) -> str:
        asked.append(messages[-1]["content"])
        return json.dumps(right)

    right = {
        "steps": [
            {"id": "a", "tool": "notes/append", "arguments": {"text": "{inputs.word}"}},
            {"id": "b", "tool": "notes/read", "arguments": {}, "after": ["a"]},
        ],
        "answer": "{b.result}",
    }
    cases = [
        {"inputs": {"word": word}, "verify": {"answer": [word], "files": {"notes.txt": {
            "equals": f"{BEFORE}{word}\n"}}}}
        for word in ("tea", "oil")
    ]  # fmt: skip
    write(place, {"request": "Note it.", "cases": cases})
    with wire.served(model) as server:
        words = ("--base-url", server.url, "--model", "m", "--max-tokens", "20000")
        found = searched(place, *words, "--max-tool-calls", "400")
        assert (found["completion"], len(asked)) == (1.0, 1)
        assert 0 < found["spent"]["tokens"] <= 20000
        assert "Given: {inputs.word}: string" in asked[0]
        few = searched(place, *words[:4], "--max-tokens", "70")
        assert (few["completion"], few["spent"]["tokens"], len(asked)) == (1.0, 0, 1)
        assert few["saved"]["tool_calls"] > 0  # both cases, and all candidates, read the same notes


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"request": "x"}, 2, "give either 'verify' or 'cases'"),
    ({"request": "x", "verify": {}}, 2, "verify: give 'answer'"),
    ({"request": "x", "verify": {"anwser": ["y"]}}, 2, "verify.anwser"),
    ({**TASK, "workflow": {"steps": 3}}, 2, "workflow: plan"),
    ({**TASK, "verify": {"files": {"a": {"gone": True, "equals": ""}}}}, 2, "exactly one of"),
    ({**TASK, "verify": {"calls": [{"tool": "notes/burn"}]}}, 2, "names notes/burn, which no server has"),
    ({**TASK, "verify": {"command": ["no-such-program"]}}, 2, "no-such-program"),
]


@pytest.mark.parametrize(("task", "code", "says"), WRONG)
def test_a_bad_task_is_one_line(place: Path, task: dict[str, Any], code: int, says: str) -> None:
    write(place, task)
    done = search(place, "--task", "task.json")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (done.stdout, (place / "notes.txt").read_text()) == ("", BEFORE)


def test_what_nobody_puts_back_is_not_called_unless_the_task_says_so(place: Path) -> None:
    servers(place)
    done = search(place, "--task", "task.json")
    assert done.returncode == 2
    assert "notes/append may change something that nobody puts back" in done.stderr
    assert (place / "notes.txt").read_text() == BEFORE
    write(place, {"request": "Read the notes.", "verify": {"answer": ["never"]}})
    searched(place, "--max-tool-calls", "5", code=1)  # and finds the notes as they were
    right = {**PLAN, "steps": [PLAN["steps"][0] | {"tool": "notes/append"}], "answer": "{s1.lines}"}  # type: ignore[index, operator]
    write(
        place,
        {"request": "'buy milk'", "workflow": right, "tools": ["notes/append"], "verify": {"answer": ["2"]}},
    )
    done = search(place, "--task", "task.json")
    assert done.returncode == 0, done.stderr
    assert (place / "notes.txt").read_text().startswith(BEFORE + "buy milk\n")
