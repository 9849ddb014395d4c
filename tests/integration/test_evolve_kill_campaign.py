"""Whole runs whose worker is killed by SIGKILL at moments by chance, resumed each time, and compared with a twin that nobody
killed: the same candidates, nothing paid twice that was finished, and nothing left behind."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from evolve_paid import CALLS_A_SESSION, TOKENS_A_CALL, configuration, paid, script
from evolve_world import Command, World
from leftovers import lasting_processes, leftovers, tree
from model_server import Script, model_server

from evolve.settings import FILE_NAME

KILLED = -9
MOST_KILLS = 4
KINDS = {
    "alone": ("--coder", "paid_whole"),
    "reviewed": ("--coder", "paid_whole", "--planner", "paid_whole", "--reviewer", "paid_whole"),
    "population": ("--coder", "paid_low", "--coder", "paid_high", "--candidates", "2"),
}
"""Together they pass through every stage."""
POINTS = ("begun", "stored", "done")
ONE_DAY = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
"""A commit's id holds its time: with one for all, the same change is the same commit."""


@dataclass
class Played:
    """What came of a run. `interrupted`: how often each stage was under way when its worker was killed."""

    world: World
    run: dict[str, Any]
    candidates: list[tuple[object, ...]]
    stages: list[tuple[object, ...]]
    calls: Counter[str]
    files: set[str]
    left: list[str]
    seconds: float
    kills: int = 0
    interrupted: Counter[str] = field(default_factory=Counter)


@dataclass
class Campaign:
    """A home for each kind of run, whose run is stored and not begun, and its twin."""

    folder: Path
    script: Script
    origins: dict[str, World]
    twins: dict[str, Played] = field(default_factory=dict)

    def twin(self, kind: str) -> Played:
        if kind not in self.twins:
            self.twins[kind] = self.play(kind, "twin")
        return self.twins[kind]

    def play(
        self, kind: str, name: str, dice: random.Random | None = None, by_worker: bool = False
    ) -> Played:
        """One run to its end, by hand or by a worker of the queue; killed now and then where there are dice."""
        folder = self.folder / f"{kind}-{name}"
        temporary = folder / "tmp"
        temporary.mkdir(parents=True)
        world = self.origins[kind].copy(folder / "home")
        [run] = [row["id"] for row in world.ok("run")]
        before, began = len(self.script.requests), time.monotonic()
        work = ("worker", "--once") if by_worker else ("run", "resume", str(run))
        env = {**ONE_DAY, "TMPDIR": str(temporary)}
        interrupted: Counter[str] = Counter()
        kills = 0
        for _ in range(dice.randint(1, MOST_KILLS) if dice else 0):
            assert dice is not None
            if not _killed(world, work, dice, self.twin(kind), env):
                break
            kills += 1
            assert lasting_processes(world.home) == []
            interrupted.update(s["name"] for s in _stages(world, run) if s["state"] != "done")
        last = world.run(*work, **env)
        assert last.code == 0, last
        seconds = time.monotonic() - began
        found = [
            (c["proposal"], c["commit"], c["image"], c["state"], c["verdict"]) for c in world.ok("candidate")
        ]
        return Played(
            world=world,
            run=world.ok("run", "status", run)["run"],
            candidates=sorted(found),
            stages=sorted(
                (s["iteration"], s["proposal"], s["round"], s["name"]) for s in _stages(world, run)
            ),
            calls=paid(self.script.requests[before:]),
            left=leftovers(world.home, temporary),
            files=set(tree(world.home)),
            seconds=seconds,
            kills=kills,
            interrupted=interrupted,
        )


def _stages(world: World, run: str) -> list[dict[str, Any]]:
    return list(world.ok("run", "status", run)["stages"])


def _killed(
    world: World, work: tuple[str, ...], dice: random.Random, twin: Played, env: dict[str, str]
) -> bool:
    """Let it work and kill it: at a stage's point, or whenever, the process alone or with all that it started.

    False when it came to its end before.
    """
    if work[0] == "run" and dice.random() < 0.3:
        point = f"{dice.choice(twin.stages)[-1]}:{dice.choice(POINTS)}"
        return world.run(*work, EVOLVE_KILL_AT=point, **env).code == KILLED
    command = world.start(*work, **env)
    time.sleep(dice.uniform(0, 0.8 * twin.seconds))
    _kill(command, alone=dice.random() < 0.6)
    return command.wait().code == KILLED


def _kill(command: Command, alone: bool) -> None:
    if not alone:
        command.kill_all()
    with suppress(ProcessLookupError):
        os.kill(command.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def campaign(sums: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder = tmp_path_factory.mktemp("k")
    told = script()
    with model_server(told) as url:
        origins = {}
        for kind, options in KINDS.items():
            world = sums.copy(folder / f"{kind}-origin")
            path = world.home / FILE_NAME
            path.write_text(path.read_text() + configuration(url, folder))
            batch = world.batch("sum")
            world.ok("run", "start", batch, *options, "--seed", "7", "--reason", "kill it", "--detach")
            origins[kind] = world
        yield Campaign(folder, told, origins)


def require_as_its_twin(killed: Played, twin: Played) -> None:
    assert (killed.run["state"], killed.run["verdict"]) == ("finished", "converged")
    assert killed.candidates == twin.candidates
    assert killed.stages == twin.stages
    assert killed.left == twin.left == []
    assert killed.files == twin.files
    for stage, calls in twin.calls.items():
        lost = CALLS_A_SESSION * killed.interrupted[stage]
        assert calls <= killed.calls[stage] <= calls + lost, (stage, killed.calls, killed.interrupted)
    booked, due = killed.run["tokens"], TOKENS_A_CALL * sum(killed.calls.values())
    assert booked >= due if any(killed.interrupted[stage] for stage in twin.calls) else booked == due
    assert killed.world.ok("audit", "verify")


def play_all(campaign: Campaign, runs: int, seed: int) -> None:
    total: Counter[str] = Counter()
    for number in range(runs):
        kind = list(KINDS)[number % len(KINDS)]
        twin = campaign.twin(kind)
        killed = campaign.play(
            kind, str(number), random.Random(f"{seed}:{number}"), by_worker=number % 2 == 1
        )
        require_as_its_twin(killed, twin)
        total.update(runs=1, kills=killed.kills, calls=sum(killed.calls.values()))
        total["in a stage"] += sum(killed.interrupted.values())
        total["calls begun again"] += sum(killed.calls.values()) - sum(twin.calls.values())
        shutil.rmtree(killed.world.home.parent)
        print(
            f"run {number}, {kind}: {killed.kills} kills, under way: {dict(killed.interrupted)}; {dict(total)}"
        )


@pytest.mark.soak
def test_fifty_runs_killed_at_moments_by_chance_end_as_their_twins(campaign: Campaign) -> None:
    play_all(campaign, int(os.environ.get("SOAK_RUNS", "50")), int(os.environ.get("SOAK_SEED", "1")))
