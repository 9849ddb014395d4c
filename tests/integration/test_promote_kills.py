"""SIGKILL of the promoter at every journaled point, and again during recovery: the same end, every time."""

import os
import random
from pathlib import Path

import pytest
from promote_campaign import FORWARD, Plan, Result, every_point, random_plan, run_all
from promote_rig import Images


def violations(results: list[Result]) -> list[str]:
    return [f"{result.plan}: {problem}" for result in results for problem in result.problems]


def test_a_kill_at_every_point_and_during_recovery_ends_new_or_old(tmp_path: Path) -> None:
    points, results = run_all(tmp_path, Images(tmp_path / "images"), every_point)
    assert violations(results) == []
    known = {name for names in points.values() for name in names} | {"BAKE.resumed"}
    hit = {name for result in results for name in result.hit}
    assert known - hit == set()
    assert len(known) >= 59
    states = {result.state for result in results}
    assert {"committed", "rolled_back", "closed", "settled"} <= states


def test_twenty_kills_in_swaps_of_the_harness(tmp_path: Path) -> None:
    kills = (
        ("ACCEPTED.within", "PREFLIGHT.intent", "PREFLIGHT.effect"),
        ("HOLD.intent", "RB_HOLD.effect", "RB_FENCE.effect", "RB_START.intent"),
        ("FENCE.effect", "RB_START.effect", "RB_PROBE.effect"),
        ("CLONE.renamed", "RB_CHOOSE.done", "RB_PROBE.intent", "ROLLED_BACK.within"),
        ("START.effect", "RB_START.done", "ROLLED_BACK.done"),
        ("RELEASED.done", "BAKE.resumed", "COMMITTED.within"),
    )
    images = Images(tmp_path / "images", "harness")
    plans = [Plan(FORWARD, names) for names in kills]
    _, results = run_all(tmp_path, images, lambda _: plans, scenarios=(FORWARD,))
    assert violations(results) == []
    assert sum(len(result.hit) for result in results) == 20


@pytest.mark.soak
def test_a_thousand_random_kills_end_new_or_old(tmp_path: Path) -> None:
    dice = random.Random(int(os.environ.get("SOAK_SEED", "1")))
    swaps = int(os.environ.get("SOAK_SWAPS", "1000"))
    _, results = run_all(
        tmp_path,
        Images(tmp_path / "images"),
        lambda points: [random_plan(points, dice) for _ in range(swaps)],
    )
    kills = sum(len(result.hit) for result in results)
    requests = sum(result.requests for result in results)
    print(f"{len(results)} swaps, {kills} kills, {requests} requests, {len(violations(results))} violations")
    assert violations(results) == []
