"""`evolve workflow compile` as an operator uses it: a real MCP server, and models that differ in sense, time and price."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from priced_models import Priced, priced_models

from workflows.codec import digest, from_json
from workflows.pareto.front import beats, of_point
from workflows.points import pick, read_points

EVOLVE = [sys.executable, "-m", "evolve.cli.main", "workflow", "compile"]
TIME = {"command": str(Path(sys.executable).with_name("mcp-server-time"))}
PATIENCE = 120
FLOW: dict[str, Any] = {
    "v": 1,
    "name": "part_of_day",
    "description": "",
    "inputs": {"time": {"type": "string"}, "zone": {"type": "string"}},
    "nodes": [
        {
            "id": "there",
            "kind": "tool",
            "tool": "time/convert_time",
            "arguments": {
                "source_timezone": {"value": "UTC"},
                "time": {"ref": "inputs.time"},
                "target_timezone": {"ref": "inputs.zone"},
            },
        },
        {
            "id": "part",
            "kind": "model",
            "prompt": "Which part of the day is {when}?",
            "values": {"when": {"ref": "there.target.datetime"}},
        },
        {
            "id": "said",
            "kind": "model",
            "prompt": "Say it kindly: {part}",
            "values": {"part": {"ref": "part"}},
        },
        {"id": "out", "kind": "output", "text": "{said}", "values": {"said": {"ref": "said"}}},
    ],
}
CONFIGURATIONS: dict[str, Any] = {
    "steps": {
        "there": {"other": {"tool": "paid/convert_time"}},
        "part": {"large": {"model": "large"}},
        "said": {"large": {"model": "large"}, "curt": {"prompt": "Say: {part}", "max_tokens": 8}},
    },
    "prices": {
        "models": {"small": {"input": 100, "output": 100}, "large": {"input": 5000, "output": 5000}},
        "tools": {"paid/convert_time": 70},
    },
}
CASES = {
    "cases": [
        {"inputs": {"time": f"{hour:02}:30", "zone": zone}, "verify": {"answer": [part]}}
        for hour, zone, part in [
            (6, "UTC", "morning"),
            (8, "Europe/Berlin", "morning"),
            (13, "UTC", "afternoon"),
            (3, "Asia/Tokyo", "afternoon"),
            (20, "UTC", "evening"),
            (19, "UTC", "evening"),
        ]
    ]
}


def part(prompt: str, large: bool) -> str:
    found = re.search(r"T(\d\d):", prompt)
    if found is None:
        return prompt.rpartition(": ")[2]
    hour = int(found[1])
    return "morning" if hour < 12 else "afternoon" if hour < 17 and large else "evening"


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    with priced_models(
        {
            "small": Priced(lambda prompt: part(prompt, False), 0.01),
            "large": Priced(lambda prompt: part(prompt, True), 0.06),
        }
    ) as url:
        yield url


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path, "servers.json", {"mcpServers": {"time": TIME, "paid": TIME}})
    write(tmp_path, "flow.json", FLOW)
    write(tmp_path, "configurations.json", CONFIGURATIONS)
    write(tmp_path, "cases.json", CASES)
    return tmp_path


def write(place: Path, name: str, table: Any) -> None:
    (place / name).write_text(json.dumps(table))


def compiled(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    files = ("--catalog", "servers.json", "--configurations", "configurations.json", "--cases", "cases.json")
    return subprocess.run(
        [*EVOLVE, "flow.json", *files, *words], cwd=place, capture_output=True, text=True, timeout=PATIENCE
    )


def test_the_set_holds_what_none_beats_and_estimates_that_can_be_judged(place: Path, models: str) -> None:
    done = compiled(place, "--base-url", models, "--model", "small", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["configurations"] == 12
    found = read_points(json.loads((place / "flow.points.json").read_text()))
    assert found.workflow == told["digest"] == digest(from_json(FLOW))
    scores = [of_point(point) for point in found.points]
    assert not any(beats(one, other) for one in scores for other in scores)
    best, cheapest = pick(found.points), pick(found.points, least_accuracy=0.5)
    assert (best.accuracy.value, best.configuration["part"]) == (1.0, "large")
    assert "there" not in best.configuration  # dearer, and no better
    assert cheapest.accuracy.value == pytest.approx(4 / 6)
    assert "part" not in cheapest.configuration
    assert cheapest.cost_micro_usd < best.cost_micro_usd / 5
    assert best.estimated is not None
    assert best.estimated.accuracy == 1.0
    assert best.estimated.cost_micro_usd == pytest.approx(best.cost_micro_usd, abs=1)
    for one in told["measured"]:
        if one["estimated"] is not None:
            assert abs(one["estimate_off_by"]["accuracy"]) < 1e-9
            assert abs(one["estimated"]["cost_micro_usd"] - one["cost_micro_usd"]) < 20
    assert told["spent"]["tool_calls"] < 12 * 6


def test_a_terminal_is_told_what_was_measured_and_what_was_left_out(place: Path, models: str) -> None:
    words = ("--base-url", models, "--model", "small", "--max-tool-calls", "17", "--out", "set.json")
    done = compiled(place, *words)
    assert done.returncode == 0, done.stderr
    assert "part=large" in done.stdout
    assert (
        "not profiled  1 alternatives" in done.stdout
    )  # the other tool's six calls are more than half of eleven
    assert "ended early" in done.stdout
    assert done.stderr.endswith("set.json: written\n")
    assert read_points(json.loads((place / "set.json").read_text()))
    assert not (place / "flow.points.json").exists()


NOTES: dict[str, Any] = {
    "v": 1,
    "name": "note",
    "description": "",
    "inputs": {"text": {"type": "string"}},
    "nodes": [
        {"id": "keep", "kind": "tool", "tool": "notes/append", "arguments": {"text": {"ref": "inputs.text"}}},
        {
            "id": "out",
            "kind": "output",
            "text": "{lines} lines",
            "values": {"lines": {"ref": "keep.lines"}},
        },
    ],
}


def test_what_runs_change_is_put_back_before_each_and_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("the first\n")
    server = {
        "command": sys.executable,
        "args": [str(Path(__file__).with_name("notes_mcp.py")), str(file), "0"],
    }
    write(tmp_path, "flow.json", NOTES)
    write(tmp_path, "configurations.json", {"steps": {"keep": {"again": {"retries": 1}}}})
    case = {"inputs": {"text": "the second"}, "verify": {"answer": ["2 lines"]}}
    write(tmp_path, "cases.json", {"cases": [case]})
    write(tmp_path, "servers.json", {"mcpServers": {"notes": server}})
    refused = compiled(tmp_path)
    assert refused.returncode == 2
    assert "name in `state` what to put back" in refused.stderr
    write(tmp_path, "servers.json", {"mcpServers": {"notes": {**server, "state": [str(file)]}}})
    done = compiled(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert [one["accuracy"]["value"] for one in json.loads(done.stdout)["measured"]] == [1.0, 1.0]
    assert file.read_text() == "the first\n"


@pytest.mark.parametrize(
    ("name", "table", "words", "code", "says"),
    [
        (
            "configurations.json",
            {"steps": {"out": {"x": {}}}},
            [],
            2,
            "steps.out.x: there is no such step that",
        ),
        ("configurations.json", {"steps": {}, "prizes": {}}, [], 2, "prizes"),
        ("configurations.json", {"steps": {}}, [], 2, "prices.models: no price of 'small'"),
        ("cases.json", {"cases": [{"verify": {"answer": ["x"]}}]}, [], 2, "cases.0.inputs.time: no value"),
        (
            "configurations.json",
            CONFIGURATIONS | {"steps": {"there": {"x": {"tool": "time/convert_tim"}}}},
            [],
            2,
            "there=x: there.tool: unknown_tool",
        ),
        (
            "cases.json",
            CASES,
            ["--max-tool-calls", "5"],
            1,
            "not run on all cases as it is: the 5 tool calls",
        ),
        (
            "cases.json",
            {"cases": [{"inputs": {"time": "25:00", "zone": "UTC"}, "verify": {"answer": ["x"]}}]},
            ["--most", "1"],
            1,
            "verified in no case under any configuration; as it is: there:",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    place: Path, models: str, name: str, table: Any, words: list[str], code: int, says: str
) -> None:
    write(place, name, table)
    done = compiled(place, "--base-url", models, "--model", "small", *words)
    assert done.returncode == code, done.stderr
    *progress, error = done.stderr.strip().splitlines()
    assert says in error
    assert progress in ([], ["the workflow as it is"])
    assert done.stdout == ""
    assert not list(place.glob("*points*"))
