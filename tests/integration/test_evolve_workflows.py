"""A shipped workflow that is wrong, from failing requests to a candidate that mends it, its approval, the swap and the way
back: over the real command, sandbox, gateway, tool server, edge and promoter."""

import json
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import flow_clock
import pytest
from evolve_world import PASSPHRASE, Users, World, approve, ask, close_zygotes, git, running
from flow_world import CLOCK, FILE, make_world

from evolve.settings import FILE_NAME
from workflows.codec import digest, from_json

WRONG = deepcopy(CLOCK)
"""The second zone is never asked for."""
WRONG["nodes"][1]["arguments"]["target"] = {"ref": "inputs.first"}


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """With a sealed batch of wrong hours. Copy it, never change it."""
    yield make_world(tmp_path_factory.mktemp("flows") / "home", WRONG)
    close_zygotes()


@pytest.fixture(scope="module")
def mended(flows: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """After a run that converged. Look at it or copy it, never change it."""
    world = flows.copy(tmp_path_factory.mktemp("mended") / "home")
    run = world.ok("run", "start", world.batch("clock"), "--reason", "users complain", "--seed", "3")
    assert run["verdict"] == "converged", run
    return world


def stages(world: World, name: str) -> dict[int, dict[str, Any]]:
    """Proposal -> what this stage came to."""
    record = world.ok("run", "show", world.ok("run")[0]["id"])["stages"]
    return {one["stage"]["proposal"]: one["output"] for one in record if one["stage"]["name"] == name}


def test_a_better_workflow_is_proposed_beside_the_coder_and_converges(mended: World) -> None:
    world = mended
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


def test_a_better_workflow_that_a_person_approved_is_live_and_goes_back(
    mended: World, tmp_path: Path
) -> None:
    world = mended.copy(tmp_path / "home")
    [candidate] = world.ok("candidate")
    before = git(world, "rev-parse", "main")
    with running(world) as url:
        assert answer(url, "live") == WRONG_HOURS
        assert ships(world) == {"clock": digest(from_json(WRONG))}
        world.refused(4, "needs_consent", "promote", candidate["id"])
        assert world.ok(*approve(world, candidate), given=PASSPHRASE + "\n")["approval"]
        with Users(url, "during") as users:
            under_way = world.start("promote", candidate["id"], "--json")
            try:
                wait_for_bake(world)
                assert answer(url, "baking") == RIGHT_HOURS
                assert git(world, "rev-parse", "main") == before
                assert ships(world) == {"clock": digest(from_json(WRONG))}
            finally:
                done = under_way.wait()  # a bake ends only while users ask
        assert done.code == 0, done
        swap = json.loads(done.out)
        assert (swap["state"], swap["target_image"], users.lost) == ("committed", candidate["image"], [])
        assert git(world, "rev-parse", "main^") == before
        assert git(world, "diff", "--name-only", "main^", "main").split() == [FILE]
        assert json.loads(git(world, "show", f"main:{FILE}")) == CLOCK
        assert answer(url, "committed") == RIGHT_HOURS
        assert ships(world) == {"clock": digest(from_json(CLOCK))}

        back = world.ok("rollback", "--reason", "drill", "--swap", swap["swap"])
        assert (back["state"], back["live_image"]) == ("rolled_back", swap["base_image"])
        assert answer(url, "back") == WRONG_HOURS
        assert ships(world) == {"clock": digest(from_json(WRONG))}
    assert world.ok("audit", "verify")["valid"]


ASKED, RIGHT_HOURS, WRONG_HOURS = "clock 3 utc tokyo lima", "12 and 22", "12 and 12"


def answer(url: str, tag: str) -> str:
    [(status, text)] = ask(url, [ASKED], tag)
    assert status == 200, text
    return text


def ships(world: World) -> dict[str, str]:
    """Name -> digest of the workflows of the live service."""
    return {one["name"]: one["digest"] for one in world.ok("workflow", "list")}


def wait_for_bake(world: World) -> None:
    guard = time.monotonic() + 60
    while (world.ok("agent", "status")["open_swap"] or {}).get("state") != "BAKE":
        assert time.monotonic() < guard, "no bake"
        time.sleep(0.1)


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
