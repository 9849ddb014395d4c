"""SIGKILL of the promoter, the agent and the edge at every journaled point, and again during recovery: the same end, every
time. The engine's turn is in test_promote_docker.py."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from promote_campaign import (
    Points,
    discover_in,
    every_point,
    every_strike,
    not_struck,
    random_plan,
    run_all,
    violations,
)
from promote_rig import Images, require_haproxy
from promote_strikes import VICTIMS
from promote_trial import FORWARD, Plan

from promote.settings import EdgeKind

PER_SWAP = {"agent": 3, "edge": 8}


@pytest.fixture(scope="module")
def points(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Points:
    return discover_in(tmp_path_factory.mktemp("first"), images)


def test_a_kill_at_every_point_and_during_recovery_ends_new_or_old(
    tmp_path: Path, images: Images, points: Points
) -> None:
    results = run_all(tmp_path, images, every_point(points))
    assert violations(results) == []
    known = {name for names in points.values() for name in names} | {"BAKE.resumed"}
    hit = {name for result in results for name in result.hit}
    assert known - hit == set()
    assert len(known) >= 59
    states = {result.state for result in results}
    assert {"committed", "rolled_back", "closed", "settled"} <= states


@pytest.mark.parametrize(
    ("victim", "edge"),
    [
        ("agent", "embedded"),
        ("edge", "haproxy"),
        pytest.param("agent", "haproxy", marks=pytest.mark.soak),
        pytest.param("edge", "embedded", marks=pytest.mark.soak),
    ],
)
def test_a_kill_of_others_at_every_point_ends_new_or_old(
    tmp_path: Path, images: Images, points: Points, victim: str, edge: EdgeKind
) -> None:
    if edge == "haproxy":
        require_haproxy()
    results = run_all(tmp_path, images, every_strike(points, victim, PER_SWAP[victim]), edges=(edge, edge))
    assert violations(results) == []
    assert not_struck(points, victim, results) == set()


@pytest.mark.parametrize(
    "kills",
    [
        ("HOLD.intent", "RB_HOLD.effect", "RB_FENCE.effect", "RB_START.intent"),
        ("RELEASED.done", "BAKE.resumed", "COMMITTED.within"),
        pytest.param(("ACCEPTED.within", "PREFLIGHT.intent", "PREFLIGHT.effect"), marks=pytest.mark.soak),
        pytest.param(
            ("CLONE.renamed", "RB_CHOOSE.done", "RB_PROBE.intent", "ROLLED_BACK.within"),
            marks=pytest.mark.soak,
        ),
    ],
)
def test_kills_in_a_swap_of_the_harness(tmp_path: Path, kills: tuple[str, ...]) -> None:
    images = Images(tmp_path / "images", "harness")
    results = run_all(tmp_path, images, [Plan(FORWARD, kills)], edges=("embedded",))
    assert violations(results) == []
    assert [name for result in results for name in result.hit] == [*kills]


@pytest.mark.soak
def test_a_thousand_random_kills_end_new_or_old(tmp_path: Path, images: Images, points: Points) -> None:
    """Of anyone, with either edge in front."""
    require_haproxy()
    dice = random.Random(int(os.environ.get("SOAK_SEED", "1")))
    swaps = int(os.environ.get("SOAK_SWAPS", "1000"))
    plans = [random_plan(points, dice, tuple(VICTIMS)) for _ in range(swaps)]
    results = run_all(tmp_path, images, plans, edges=("embedded", "haproxy"))
    kills = Counter(name.partition("@")[0] if "@" in name else "promoter" for r in results for name in r.hit)
    requests = sum(result.requests for result in results)
    print(f"{len(results)} swaps, {dict(kills)}, {requests} requests, {len(violations(results))} violations")
    assert violations(results) == []
