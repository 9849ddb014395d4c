"""Several proposals a pass, over the real command: each is half a fix, together they are one."""

from pathlib import Path
from typing import Any

from evolve_world import World

KILLED = -9


def start(world: World, *coders: str, **env: str) -> int:
    chosen = [word for name in coders for word in ("--coder", name)]
    size = ("--candidates", str(len(coders)), "--seed", "7")
    return world.run(
        "run", "start", world.batch("sum"), *chosen, *size, "--reason", "half a fix each", **env
    ).code


def stages(world: World) -> list[dict[str, Any]]:
    return list(world.ok("run", "status", world.ok("run")[0]["id"])["stages"])


def test_two_halves_are_merged_and_the_whole_converges(sums: World, tmp_path: Path) -> None:
    world = sums.copy(tmp_path / "home")
    assert start(world, "low", "high") == 0
    run = world.ok("run")[0]
    assert run["verdict"] == "converged"
    found = {c["proposal"]: c for c in world.ok("candidate")}
    assert sorted(found) == [1, 2, 3]
    assert run["candidate_id"] == found[3]["id"]
    assert [found[n]["state"] for n in (1, 2, 3)] == ["built", "built", "ready"]
    story = world.ok("candidate", "show", found[3]["id"])
    assert set(story["proposal"]["parents"]) == {found[1]["id"], found[2]["id"]}
    assert [s["proposal"] for s in stages(world) if s["name"] == "trial"] == [
        0
    ]  # held-out cases for one of the three


def test_killed_between_proposals_the_same_candidates_come_out(sums: World, tmp_path: Path) -> None:
    world = sums.copy(tmp_path / "home")
    assert start(world, "low", "high", EVOLVE_KILL_AT="screen:done") == KILLED
    first = world.ok("candidate")
    assert len(first) == 1
    run_id = world.ok("run")[0]["id"]
    for point in ("combine:begun", "combine:stored", "combine:done", "screen:begun", "select:stored"):
        assert world.run("run", "resume", run_id, EVOLVE_KILL_AT=point).code == KILLED
    assert world.run("run", "resume", run_id).code == 0
    found = world.ok("candidate")
    assert len(found) == 3
    assert first[0]["image"] in {c["image"] for c in found}
    once = [s for s in stages(world) if s["name"] == "implement"]
    assert [(s["proposal"], s["attempts"]) for s in once] == [(1, 1), (2, 1)]


def test_the_best_is_shown_when_nothing_converges_and_the_others_are_told(
    sums: World, tmp_path: Path
) -> None:
    world = sums.copy(tmp_path / "home")
    assert start(world, "low", "worse", "protected") == 1
    run = world.ok("run")[0]
    low = next(c for c in world.ok("candidate") if c["proposal"] == 1)
    assert (run["verdict"], run["candidate_id"]) == ("needs_work", low["id"])
    assert "visible cases" in run["verdict_reason"]
    answers = {s["proposal"]: s["name"] for s in stages(world) if s["name"] in ("code_review", "screen")}
    assert answers == {1: "screen", 2: "screen", 3: "code_review"}
