"""A run killed by SIGKILL in every stage and resumed comes to the same end, repeats nothing that was finished, and leaves
nothing behind. `combine`, for which it takes several proposals, is in test_evolve_population.py."""

import json
import re
from pathlib import Path

import pytest
from evolve_world import World
from leftovers import leftovers

STAGES = (
    "baseline",
    "locate",
    "controls",
    "right_answer",
    "plan",
    "plan_review",
    "implement",
    "code_review",
    "build",
    "screen",
    "select",
    "trial",
    "evaluate",
    "verdict",
)
KILLED = -9


@pytest.fixture
def world(sealed_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """In a folder with a short name, for sockets lie beside the home, too."""
    return sealed_world.copy(tmp_path_factory.mktemp("k") / "home")


def the_run(world: World) -> str:
    [run] = world.ok("run")
    return str(run["id"])


def attempts(world: World) -> dict[str, int]:
    detail = world.ok("run", "status", the_run(world))
    assert {stage["state"] for stage in detail["stages"]} == {"done"}
    return {stage["name"]: stage["attempts"] for stage in detail["stages"]}


def require_one_good_end(world: World) -> str:
    """One run, one candidate, one verdict; returns the candidate's diff."""
    detail = world.ok("run", "status", the_run(world))
    assert (detail["run"]["state"], detail["run"]["verdict"]) == ("finished", "converged")
    [candidate] = world.ok("candidate")
    assert (candidate["state"], candidate["verdict"]) == ("ready", "converged")
    assert candidate["id"] == detail["run"]["candidate_id"]
    assert world.ok("batch", "show", candidate["batch_id"])["state"] == "ready"
    assert len(world.ok("trial", "show", candidate["id"])) > 40
    diff = str(world.ok("candidate", "diff", candidate["id"])["diff"])
    assert len(re.findall(r"^\+.*# mark", diff, re.MULTILINE)) == 1
    return diff


def temporary(world: World) -> Path:
    return world.home.with_name("tmp")


def start(world: World, kill_at: str) -> int:
    temporary(world).mkdir()
    command = ("run", "start", world.batch("sum"), "--reason", "kill it", "--seed", "5")
    return world.run(*command, EVOLVE_KILL_AT=kill_at, TMPDIR=str(temporary(world))).code


def resume(world: World, kill_at: str = "") -> int:
    env = {"EVOLVE_KILL_AT": kill_at, "TMPDIR": str(temporary(world))}
    done = world.run("run", "resume", the_run(world), **env)
    assert done.code == (KILLED if kill_at else 0), done
    return done.code


def test_killed_after_every_stage_no_stage_runs_twice(world: World) -> None:
    assert start(world, "baseline:done") == KILLED
    for stage in STAGES[1:]:
        assert resume(world, f"{stage}:done") == KILLED, stage
    assert resume(world) == 0
    assert attempts(world) == dict.fromkeys(STAGES, 1)
    require_one_good_end(world)
    assert resume(world) == 0  # a finished run stays as it is
    assert attempts(world) == dict.fromkeys(STAGES, 1)


def test_killed_at_the_begin_and_before_the_end_of_every_stage(world: World) -> None:
    """What an unfinished stage left behind is never read as an answer; above all no second candidate remains."""
    assert start(world, "baseline:begun") == KILLED
    assert resume(world, "baseline:stored") == KILLED
    for stage in STAGES[1:]:
        assert resume(world, f"{stage}:begun") == KILLED, stage
        assert resume(world, f"{stage}:stored") == KILLED, stage
    assert resume(world) == 0
    assert attempts(world) == dict.fromkeys(STAGES, 3)
    require_one_good_end(world)
    assert leftovers(world.home, temporary(world)) == []


def test_the_coder_is_not_called_again(world: World) -> None:
    """The coder leaves a random mark: a second call would leave another."""
    assert start(world, "implement:done") == KILLED
    before = stored_diff(world)
    assert resume(world) == 0
    assert require_one_good_end(world) == before


def stored_diff(world: World) -> str:
    from evolve.product import Product
    from evolve.runs import stages_of

    with Product.open(world.home) as product:
        [done] = [s for s in stages_of(product.store, the_run(world)) if s.name == "implement"]
        stored = json.loads(product.store.blobs.get(done.output_blob or ""))
        return product.store.blobs.get(stored["diff_blob"]).decode()


def test_another_run_takes_over_what_was_located_and_replays_the_baseline_itself(world: World) -> None:
    def until_located(seed: str) -> str:
        known = {run["id"] for run in world.ok("run")}
        command = ("run", "start", world.batch("sum"), "--reason", "look", "--seed", seed)
        assert world.run(*command, EVOLVE_KILL_AT="plan:begun").code == KILLED
        [new] = {run["id"] for run in world.ok("run")} - known
        world.ok("run", "stop", new)
        return str(new)

    first, again, other = until_located("5"), until_located("5"), until_located("6")
    assert replays(world, first, "baseline") == replays(world, again, "baseline") > 0
    assert [replays(world, run, "locate") > 0 for run in (first, again, other)] == [True, False, True]


def replays(world: World, run: str, stage: str) -> int:
    [found] = [s for s in world.ok("run", "status", run)["stages"] if s["name"] == stage]
    return int(found["trials"])


def test_a_stop_does_not_wait_for_the_coder(world: World) -> None:
    command = world.start("run", "start", world.batch("sum"), "--reason", "slow", "--coder", "slow")
    run = world.wait_for_stage("implement")
    assert world.ok("run", "stop", run)["state"] == "stopping"
    command.wait()
    status = world.ok("run", "status", run)
    assert (status["run"]["state"], [s["state"] for s in status["stages"] if s["name"] == "implement"]) == (
        "stopped",
        ["started"],
    )


def test_stop_then_resume_and_only_one_at_a_time(world: World) -> None:
    batch = world.batch("sum")
    command = world.start("run", "start", batch, "--reason", "slow", "--coder", "slow")
    run = world.wait_for_stage("implement")
    assert world.refused(4, "needs_consent", "run", "start", batch, "--reason", "too")["hint"]
    world.refused(4, "needs_consent", "run", "resume", run)
    command.kill()
    assert command.wait().code == KILLED
    assert world.ok("run", "stop", run)["state"] == "stopped"
    assert world.ok("batch", "show", batch)["state"] == "sealed"
    again = world.ok("run", "start", batch, "--reason", "the right one")
    assert again["verdict"] == "converged"
    world.refused(4, "needs_consent", "run", "resume", run)  # its batch waits for a decision now
    world.refused(4, "needs_consent", "run", "start", batch, "--reason", "again")
    assert len(world.ok("run")) == 2
