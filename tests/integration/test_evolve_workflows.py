"""A shipped workflow that is wrong, from failing requests to a candidate that mends it: over the real command, sandbox,
gateway and tool server."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import flow_clock
import pytest
from evolve_world import World, close_zygotes
from flow_world import CLOCK, FILE, make_world

from evolve.settings import FILE_NAME


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The second zone is never asked for. Copy it, never change it."""
    wrong = deepcopy(CLOCK)
    wrong["nodes"][1]["arguments"]["target"] = {"ref": "inputs.first"}
    yield make_world(tmp_path_factory.mktemp("flows") / "home", wrong)
    close_zygotes()


def stages(world: World, name: str) -> dict[int, dict[str, Any]]:
    """Proposal -> what this stage came to."""
    record = world.ok("run", "show", world.ok("run")[0]["id"])["stages"]
    return {one["stage"]["proposal"]: one["output"] for one in record if one["stage"]["name"] == name}


def test_a_better_workflow_is_proposed_beside_the_coder_and_converges(flows: World, tmp_path: Path) -> None:
    world = flows.copy(tmp_path / "home")
    run = world.ok("run", "start", world.batch("clock"), "--reason", "users complain", "--seed", "3")
    assert run["verdict"] == "converged", run
    assert FILE in {suspect["file"] for suspect in stages(world, "locate")[0]["suspects"]}
    made = stages(world, "implement")
    assert {number: (one["coder"], one["outcome"]) for number, one in made.items()} == {
        1: ("idle", "no_change"),
        2: ("workflows", "edited"),
    }
    assert made[2]["tokens"] == 0
    assert made[2]["trials"] > 0, "the visible cases were replayed"
    [candidate] = world.ok("candidate")
    story = world.ok("candidate", "show", candidate["id"])
    assert (candidate["state"], story["proposal"]["files"]) == ("ready", [FILE])
    [change] = story["workflows"]
    told = [(one["step"], one["place"], one["after"]) for one in change["changes"]]
    assert told == [("second", "arguments.target", {"ref": "inputs.second"})]
    assert (change["gained"], story["problems"]) == ([], [])
    diff = world.run("candidate", "diff", candidate["id"]).out
    assert [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        '-        "target": {"ref": "inputs.first"}',
        '+        "target": {"ref": "inputs.second"}',
    ]
    assert json.loads(made[2]["transcript"][made[2]["transcript"].index("{") :])["improved"]


def test_where_workflows_are_protected_it_is_refused_as_any_other(flows: World, tmp_path: Path) -> None:
    world = flows.copy(tmp_path / "home")
    path = world.home / FILE_NAME
    path.write_text(path.read_text() + '\n[guard]\nprotected = ["/workflows/"]\n')
    started = world.run("run", "start", world.batch("clock"), "--coder", "workflows", "--reason", "try")
    assert started.code == 1
    [(number, review)] = stages(world, "code_review").items()
    assert (number, review["ok"]) == (1, False)
    assert "guard.nothing_protected" in review["reason"]
    assert world.ok("candidate") == []


@pytest.mark.soak
def test_the_bundled_service_s_own_clock_is_mended_on_the_real_time_server(tmp_path: Path) -> None:
    world = flow_clock.make_world(tmp_path / "home")
    run = world.ok("run", "start", world.batch("clock"), "--reason", "users complain", "--seed", "3")
    assert run["verdict"] == "converged", run
    [candidate] = world.ok("candidate")
    diff = world.run("candidate", "diff", candidate["id"]).out
    changed = [
        line.strip("+- ,") for line in diff.splitlines() if line[:1] in "+-" and line[1:3] not in ("++", "--")
    ]
    assert changed == [flow_clock.WRONG, flow_clock.RIGHT]
