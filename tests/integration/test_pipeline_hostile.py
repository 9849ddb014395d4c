"""Hostile proposals through a whole run: coder, guard, build, screen, trial, verdict. None is offered, and the run's record
names why."""

import os
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from evolve_world import World
from pipeline_corpus import FEW, HANG, HOSTILE, Proposal
from pipeline_fresh import FRESH, HOLES, Hole
from pipeline_world import Ended, configure, play

from evolve.settings import FILE_NAME

PLAYED = (*HOSTILE, *FRESH)
EVERY = (*PLAYED, *(hole.proposal for hole in HOLES))
TOGETHER = [one for one in PLAYED if not one.alone and one is not HANG]
GROUPS = [tuple(TOGETHER[start : start + 12]) for start in range(0, len(TOGETHER), 12)]
ALONE = [one for one in PLAYED if one.alone]


class LetThroughError(Exception):
    """It was offered."""


@pytest.fixture
def world(largest_world: World, tmp_path: Path) -> World:
    return largest_world.copy(tmp_path / "home")


def refuses(world: World, *proposals: Proposal) -> Ended:
    """None of them is offered, for the reason that is its own; and the sandboxes left nothing behind."""
    ended = play(world, configure(world, proposals))
    if ended.offered:
        raise LetThroughError(ended)
    assert ended.code == 1, ended
    wrong = {
        str(one): ended.why(number)
        for number, one in enumerate(proposals, 1)
        if not all(word in ended.why(number) for word in one.why)
    }
    assert wrong == {}
    assert not still_running("86399")
    return ended


def hole_mark(hole: Hole) -> ParameterSet:
    mark = pytest.mark.xfail(
        strict=True,
        raises=LetThroughError,
        reason=f"{hole.gain}. Remedy: {hole.remedy}",
    )
    return pytest.param(hole.proposal, marks=mark, id=str(hole.proposal))


def still_running(word: str) -> list[str]:
    """Command lines of this machine that hold a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if int(path.parent.name) != os.getpid():
            try:
                found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return [line for line in found if word in line]


def test_a_field_of_cheats_ends_with_nothing_offered(world: World) -> None:
    ended = refuses(world, *FEW)
    assert ended.candidates == []


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len({one.name for one in EVERY}) == len(EVERY) >= 60
    assert all(one.why for one in EVERY)


@pytest.mark.soak
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0].name)
def test_none_of_a_group_is_offered(world: World, group: tuple[Proposal, ...]) -> None:
    refuses(world, *group)


@pytest.mark.soak
@pytest.mark.parametrize("proposal", ALONE, ids=str)
def test_what_only_a_trial_can_tell_is_not_offered(world: World, proposal: Proposal) -> None:
    refuses(world, proposal)


@pytest.mark.soak
@pytest.mark.parametrize("proposal", [hole_mark(hole) for hole in HOLES])
def test_a_hole_is_closed(world: World, proposal: Proposal) -> None:
    refuses(world, proposal)


@pytest.mark.soak
def test_a_coder_that_hangs_is_ended(world: World) -> None:
    path = world.home / FILE_NAME
    path.write_text(path.read_text().replace("coder_seconds = 120", "coder_seconds = 3"))
    refuses(world, HANG)
