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
    assert all("there" not in point.configuration for point in found.points)  # dearer, and no better
    best, cheapest = pick(found.points), pick(found.points, least_accuracy=0.5)
    assert (best.accuracy.value, best.configuration["part"]) == (1.0, "large")
    assert cheapest.accuracy.value == pytest.approx(4 / 6)
    assert "part" not in cheapest.configuration
    assert cheapest.cost_micro_usd < best.cost_micro_usd / 5
    assert best.estimated is not None
    assert best.estimated.accuracy == 1.0
    assert best.estimated.cost_micro_usd == pytest.approx(best.cost_micro_usd, abs=1)
    off = [one["estimate_off_by"] for one in told["measured"] if one["estimated"]]
    assert all(abs(one["accuracy"]) < 1e-9 and abs(one["cost"]) < 0.01 for one in off)
    assert told["spent"]["tool_calls"] < 12 * 6
