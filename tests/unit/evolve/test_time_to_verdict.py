"""The benchmark of the search for a verdict: the product's own code decides drawn replays, and the peer is as it says."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.time_to_verdict import exhaustive, ours, simulated
from benchmarks.time_to_verdict.exhaustive import Level
from benchmarks.time_to_verdict.scenarios import (
    A_A,
    FIX,
    LEAST,
    NO_OP,
    SCENARIOS,
    SEEN_ONLY,
    Decision,
    Draw,
    Kind,
    Scenario,
    breaks,
    draw,
)
from trial.graders import GraderSet
from trial.measure import VerdictPolicy
from trial.statistics import loss_upper_bound

SMALL = (2, 5, 30)
ALPHA = VerdictPolicy().alpha


def decide(scenario: Scenario, drawn: Draw) -> Decision:
    with GraderSet([], Path(), None) as graders:
        return ours.decide(
            ours.sealed(scenario, graders), ours.candidates(scenario), graders, scenario, drawn
        )


def of_kinds(*kinds: Kind) -> Scenario:
    return Scenario("", (kinds,) * 2)


@pytest.mark.parametrize(
    ("scenario", "accepted", "proposals", "replays"),
    [
        # the baseline's 8 and 8 asked again; each of six proposals screened on 8, and none mends one
        (of_kinds(NO_OP, NO_OP, NO_OP), False, 6, 16 + 6 * 8),
        # no leader, so no second look; on both arms 8 visible, 8 held-out, 6 honeypots, 100 worked; 5 lives, 4 of strangers
        (Scenario("", ((FIX,),) * 2), True, 1, 16 + 8 + 2 * (8 + 8 + 6 + 100) + 9),
        # two screened and one of them looked at again, in each pass; one worked case lost is enough
        (of_kinds(breaks(1.0), NO_OP), False, 4, 16 + 2 * (16 + 8 + 2 * (8 + 8 + 6 + 1) + 5)),
        (of_kinds(SEEN_ONLY, NO_OP), False, 4, None),
    ],
)
def test_certain_outcomes_are_decided_as_the_product_does(
    scenario: Scenario, accepted: bool, proposals: int, replays: int | None
) -> None:
    drawn = draw(scenario, (1,))
    found = decide(scenario, drawn)
    assert (found.accepted is not None, found.proposals) == (accepted, proposals)
    assert found.gain_shown == any(kind.held_out == 1.0 for kind in drawn.kinds)
    assert replays is None or found.replays == replays
    if found.accepted is not None:
        assert drawn.kinds[found.accepted - 1].better


def test_what_mends_nothing_is_not_asked_for_more() -> None:
    """Some visible cases pass on the baseline for certain: those are not replayed where none of the others is mended."""
    scenario = Scenario("", ((NO_OP, NO_OP),), flaky=0.5, luck=1.0)
    drawn = draw(scenario, (1,))
    failing = int((drawn.chance[0, : LEAST[0]] == 0).sum())
    assert 0 < failing < LEAST[0]
    assert decide(scenario, drawn) == Decision(None, 2, LEAST[0] + failing + 2 * failing, False)


def test_the_better_one_is_accepted_wherever_it_stands() -> None:
    scenario = of_kinds(NO_OP, FIX, NO_OP)
    places = set()
    for seed in range(6):
        drawn = draw(scenario, (seed,))
        found = decide(scenario, drawn)
        assert found.accepted == 1 + drawn.kinds.index(FIX)
        places.add(found.accepted)
    assert len(places) > 1


def test_a_run_depends_on_its_seed_alone() -> None:
    together = simulated.simulate(SCENARIOS.index(A_A), 0, 4)
    apart = [run for first in (0, 2) for run in simulated.simulate(SCENARIOS.index(A_A), first, 2)]
    assert [run.decision for run in together] == [run.decision for run in apart]
    for one, other in zip(together, apart, strict=True):
        assert np.array_equal(one.counted.won, other.counted.won)
    assert len({run.decision.replays for run in together}) > 1


def test_both_ways_see_the_same_first_replay_and_a_second_is_luck_again() -> None:
    scenario = Scenario("", ((NO_OP,),), (2, 60, 30), flaky=1.0, luck=0.5)
    drawn = draw(scenario, (3,))
    arena = ours.DrawnArena(drawn)
    with GraderSet([], Path(), None) as graders:
        batch = ours.sealed(scenario, graders)
    jobs = [ours.Job(case, "baseline", ours.BASELINE, 0) for case in batch.held_out]
    first, second = ([trial.outcome == "pass" for trial in arena.run(jobs)] for _ in range(2))
    assert first == drawn.first[0, 2:62].tolist()
    assert first != second
    assert arena.replays == 120


def binomial_tail(won: int, lost: int) -> float:
    flips = won + lost
    return sum(math.comb(flips, k) for k in range(won, flips + 1)) / 2**flips


def gain(first: Sequence[Sequence[bool]], row: int) -> float:
    """The p-value."""
    unseen = slice(SMALL[0], SMALL[0] + SMALL[1])
    pairs = list(zip(first[0][unseen], first[row][unseen], strict=True))
    return binomial_tail(pairs.count((False, True)), pairs.count((True, False)))


def acceptable(first: Sequence[Sequence[bool]], row: int, alpha: float) -> bool:
    """Said once more in plain words, without arrays."""
    visible, held_out, _ = SMALL
    baseline, mine = first[0], first[row]
    pairs = list(zip(baseline, mine, strict=True))
    unseen, worked = pairs[visible : visible + held_out], pairs[visible + held_out :]
    passes = sum(now for _, now in unseen)
    kept, broken = worked.count((True, True)), worked.count((True, False))
    margin = max(0.03, loss_upper_bound(0, kept + broken))
    return (
        all(mine[:visible])
        and passes / held_out >= 0.5
        and margin <= 0.1
        and loss_upper_bound(broken, kept + broken) <= margin
        and gain(first, row) <= alpha
    )


@settings(max_examples=150, deadline=None)
@given(
    chances=st.lists(st.sampled_from([0.1, 0.3, 0.6, 1.0]), min_size=5, max_size=5),
    worked=st.sampled_from([0.97, 1.0]),
    factor=st.sampled_from([0.5, 1.0, 8.0, 40.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_peer_takes_the_first_pass_with_one_that_every_gate_lets_through(
    chances: list[float], worked: float, factor: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scenario = Scenario("", ((NO_OP, NO_OP), (NO_OP,), (NO_OP, NO_OP)), SMALL)
    chance = np.full((6, sum(SMALL)), worked)
    for row, value in enumerate([0.1, *chances]):
        chance[row, : SMALL[0]] = 0.9 if row else 0.0
        chance[row, SMALL[0] : SMALL[0] + SMALL[1]] = value
    first = rng.random(chance.shape) < chance
    level = Level(factor, SMALL[1])
    found = exhaustive.decide(exhaustive.count(first, SMALL), scenario, level)
    able = [row for row in range(1, 6) if acceptable(first.tolist(), row, factor * ALPHA / 5)]
    ends = next((end for end in (2, 3, 5) if any(row <= end for row in able)), 5)
    assert (found.accepted is not None) == bool(able)
    assert found.accepted is None or (found.accepted in able and found.accepted <= ends)
    assert (found.proposals, found.replays) == (ends, (1 + ends) * sum(SMALL))
    smallest = exhaustive.showing_factor(exhaustive.count(first, SMALL), scenario)
    assert (smallest <= factor) == any(gain(first.tolist(), row) <= factor * ALPHA / 5 for row in range(1, 6))
    shown = any(gain(first.tolist(), row) <= factor * ALPHA / 5 for row in range(1, ends + 1))
    assert found.gain_shown == shown


@given(st.lists(st.sampled_from([0.1, 0.2, 0.4, 1.5, 20.0]), min_size=1, max_size=30), st.integers(0, 30))
def test_the_equal_factor_accepts_as_often_as_steps_allow(factors: list[float], wanted: int) -> None:
    chosen = exhaustive.equal_factor(factors, wanted)
    off = abs(sum(f <= chosen for f in factors) - wanted)
    assert all(off <= abs(sum(f <= other for f in factors) - wanted) for other in (0.0, *factors))


def test_what_counts_as_wrong() -> None:
    counted = exhaustive.count(np.zeros((4, sum(LEAST)), dtype=bool), LEAST)

    def run(*better: bool) -> simulated.Run:
        return simulated.Run(better, Decision(None, 3, 0, False), counted)

    def ended(*accepted: int | None) -> list[Decision]:
        return [Decision(one, 3, 0, False) for one in accepted]

    runs = [run(False, False), run(False, True), run(False, True)]
    assert simulated.false_accepts(runs, ended(1, 2, None)) == 1
    assert simulated.false_accepts(runs, ended(None, 1, 2)) == 1
    assert simulated.false_refusals(runs, ended(None, None, 2)) == 1
    assert simulated.false_refusals(runs, ended(None, 1, 2)) == 0


@pytest.mark.parametrize(
    ("hits", "of", "interval"),
    [(0, 2000, [0.0, 0.18]), (5, 10, [18.71, 81.29]), (10, 10, [69.15, 100.0]), (20, 2000, [0.61, 1.54])],
)
def test_intervals_are_those_of_clopper_and_pearson(hits: int, of: int, interval: list[float]) -> None:
    assert simulated.share(hits, of)["interval"] == pytest.approx(interval, abs=0.011)
