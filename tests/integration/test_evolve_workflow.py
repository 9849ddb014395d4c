"""`evolve workflow` as an operator uses it, with a real MCP server; also killed in the middle, again and again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from leftovers import lasting_processes

EVOLVE = [sys.executable, "-m", "evolve.cli.main", "workflow"]
PATIENCE = 120
STEPS = 5


def step(number: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"text": {"value": f"line {number}"}}
    if number:
        arguments["line"] = {"ref": f"s{number - 1}.lines"}
    return {"id": f"s{number}", "kind": "tool", "tool": "notes/append", "arguments": arguments}


FLOW: dict[str, Any] = {
    "v": 1,
    "name": "keep_notes",
    "description": "",
    "inputs": {"who": {"type": "string"}},
    "nodes": [
        *map(step, range(STEPS)),
        {"id": "all", "kind": "tool", "tool": "notes/read", "after": [f"s{STEPS - 1}"]},
        {
            "id": "out",
            "kind": "output",
            "text": "{who}: {all}",
            "values": {"who": {"ref": "inputs.who"}, "all": {"ref": "all.result"}},
        },
    ],
}
EXPECTED = "".join(f"line {number}\n" for number in range(STEPS))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    server = Path(__file__).with_name("notes_mcp.py")
    command = {"command": sys.executable, "args": [str(server), str(tmp_path / "notes.txt"), "0.05"]}
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"notes": command}}))
    (tmp_path / "flow.json").write_text(json.dumps(FLOW))
    return tmp_path


def evolve(place: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run([*EVOLVE, *words], cwd=place, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


def test_checked_run_recorded_and_run_dry(place: Path) -> None:
    catalog, who = ("--catalog", "servers.json"), ("-i", "who=Ada")
    assert json.loads(evolve(place, "check", "flow.json", *catalog, "--json"))["problems"] == []
    text = evolve(place, "run", "flow.json", *catalog, *who, "--record", "calls.jsonl")
    assert text == f"Ada: {EXPECTED}\n"
    assert (place / "notes.txt").read_text() == EXPECTED
    dry = evolve(place, "run", "flow.json", "--cassette", "calls.jsonl", *who)
    assert dry == text
    assert (place / "notes.txt").read_text() == EXPECTED
    result = json.loads(
        evolve(place, "run", "flow.json", *catalog, *who, "--max-tool-calls", "3", "--json", code=1)
    )
    assert result["error"]["kind"] == "refused"
    assert len((place / "notes.txt").read_text().splitlines()) == STEPS + 3


def test_what_is_wrong_is_told_before_anything_is_called(place: Path) -> None:
    wrong = json.loads(json.dumps(FLOW))
    wrong["nodes"][1]["arguments"] = {"line": {"ref": "s0.liens"}, "txet": {"value": 3}}
    wrong["nodes"][2]["tool"] = "notes/prepend"
    (place / "wrong.json").write_text(json.dumps(wrong))
    catalog = ("--catalog", "servers.json", "--cache", "cache.json")
    unknown = json.loads(evolve(place, "check", "wrong.json", *catalog, "--offline", "--json", code=3))
    assert "notes" in unknown["error"]["message"]
    found = json.loads(evolve(place, "check", "wrong.json", *catalog, "--json", code=1))
    assert json.loads(evolve(place, "check", "wrong.json", *catalog, "--offline", "--json", code=1)) == found
    assert {(p["kind"], p["node"], p["path"]) for p in found["problems"]} >= {
        ("missing_argument", "s1", "arguments.text"),
        ("unknown_argument", "s1", "arguments.txet"),
        ("dangling_reference", "s1", "arguments.line"),
        ("unknown_tool", "s2", "tool"),
    }
    told = [way["told"] for problem in found["problems"] for way in problem["repairs"][:1]]
    assert "s1.arguments.line: take {s0.lines}" in told
    assert "s2: call notes/append" in told
    shown = evolve(place, "check", "wrong.json", "--catalog", "servers.json", code=1)
    assert "notes/prepend" in shown
    refused = subprocess.run(
        [*EVOLVE, "run", "wrong.json", "--catalog", "servers.json", "-i", "who=x"],
        cwd=place, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "evolve workflow check" in refused.stderr
    assert not (place / "notes.txt").exists()


def test_shown_drawn_and_compared(place: Path) -> None:
    assert "notes/append" in evolve(place, "show", "flow.json")
    assert evolve(place, "show", "flow.json", "--mermaid").startswith("flowchart TD\n")
    other = json.loads(json.dumps(FLOW))
    other["nodes"][0]["policy"] = {"recovery": {"tool": "mail/send", "arguments": {}}}
    (place / "other.json").write_text(json.dumps(other))
    found = json.loads(evolve(place, "diff", "flow.json", "other.json", "--json"))
    assert found["gained"] == {"mail/send": "irreversible"}
    assert "mail/send" in evolve(place, "diff", "flow.json", "other.json")
    tools = json.loads(
        evolve(place, "tools", "--catalog", "servers.json", "--search", "append a line", "--json")
    )
    assert tools["tools"][0]["name"] == "append"
    assert tools["servers"][0]["state"] == "ready"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show", "nowhere.json"], 3, "no such file"),
        (["show", "servers.json"], 2, "v: expected 1"),
        (["run", "flow.json", "--catalog", "servers.json"], 2, "no value for who"),
        (["run", "flow.json", "-i", "who=x"], 2, "either --catalog"),
        (["check", "flow.json", "--catalog", "flow.json"], 2, "mcpServers"),
        (["check", "flow.json", "--catalog", "dead.json"], 5, "no tool server is there"),
    ],
)
def test_bad_input_is_one_line(place: Path, words: list[str], code: int, says: str) -> None:
    (place / "dead.json").write_text('{"mcpServers": {"x": {"command": "false"}}}')
    done = subprocess.run([*EVOLVE, *words], cwd=place, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def killed(place: Path, dice: random.Random, pace: float) -> int:
    """Killed with all that it started after some time, unless it ends before. `pace`: seconds that starting takes here."""
    words = [
        *EVOLVE,
        "run",
        "flow.json",
        "--catalog",
        "servers.json",
        "-i",
        "who=Ada",
        "--journal",
        "journal",
    ]
    with (place / "out").open("w") as out:
        run = subprocess.Popen(words, cwd=place, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return run.wait(pace * dice.uniform(1.0, 3.0))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.kill(run.pid, signal.SIGKILL)
            return run.wait()


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)]
)
def test_killed_again_and_again_no_write_is_lost_unsaid_or_made_twice(place: Path, seed: int) -> None:
    dice, began = random.Random(seed), time.monotonic()
    evolve(place, "check", "flow.json", "--catalog", "servers.json")
    pace = time.monotonic() - began
    for _ in range(60):
        code = killed(place, dice, pace)
        if code >= 0:
            break
    lines = Counter((place / "notes.txt").read_text().splitlines())
    assert max(lines.values()) == 1
    said = (place / "out").read_text()
    if code == 0:
        assert said == f"Ada: {EXPECTED}\n"
    else:  # a write whose end nobody knows is not made again, and the run says so
        assert code == 1
        assert "its end is not known" in said
    assert lasting_processes(place) == []
