"""Honest fixes through a whole run: each converges and is offered, and nothing is said against it."""

from pathlib import Path

import pytest
from evolve_world import World
from pipeline_honest import EXTRA, FIXES
from pipeline_world import Proposal, configure, play

FEW = (EXTRA[-1],)


@pytest.fixture
def world(largest_world: World, tmp_path: Path) -> World:
    return largest_world.copy(tmp_path / "home")


def is_offered(world: World, proposal: Proposal) -> None:
    ended = play(world, configure(world, [proposal]))
    assert ended.code == 0, (ended.run, ended.why(1))
    assert (ended.run["verdict"], ended.batch) == ("converged", "ready")
    [candidate] = ended.candidates
    assert (candidate["state"], candidate["id"]) == ("ready", ended.run["candidate_id"])
    [review] = [one["output"] for one in ended.record if one["stage"]["name"] == "code_review"]
    assert review["ok"], review
    [tried] = [one["output"] for one in ended.record if one["stage"]["name"] == "trial"]
    assert [check for check in tried["report"]["checks"] if not check["ok"]] == []


@pytest.mark.parametrize("proposal", FEW, ids=str)
def test_an_honest_fix_is_offered(world: World, proposal: Proposal) -> None:
    is_offered(world, proposal)


@pytest.mark.soak
@pytest.mark.parametrize("proposal", [one for one in FIXES if one not in FEW], ids=str)
def test_every_honest_fix_is_offered(world: World, proposal: Proposal) -> None:
    is_offered(world, proposal)


def test_there_are_as_many_as_promised() -> None:
    assert len({one.name for one in FIXES}) == len(FIXES) >= 20
