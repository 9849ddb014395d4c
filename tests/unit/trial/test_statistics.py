"""The numbers against exact enumeration, known values and simulation."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trial import statistics as stats

counts = st.integers(0, 60)


@settings(deadline=None, max_examples=60)
@given(counts, counts)
def test_wealth_is_a_martingale_when_a_pair_is_a_coin_flip(won: int, lost: int) -> None:
    following = (stats.e_value(won + 1, lost) + stats.e_value(won, lost + 1)) / 2
    assert following == pytest.approx(stats.e_value(won, lost), rel=1e-9)


@settings(deadline=None, max_examples=60)
@given(counts, counts, st.floats(0, 0.5))
def test_wealth_shrinks_on_average_when_the_candidate_is_worse(won: int, lost: int, chance: float) -> None:
    following = chance * stats.e_value(won + 1, lost) + (1 - chance) * stats.e_value(won, lost + 1)
    assert following <= stats.e_value(won, lost) * (1 + 1e-9)


def test_every_sequence_of_ten_null_pairs_has_expectation_one_and_obeys_ville() -> None:
    needed = stats.threshold(0.05)
    total, crossings = 0.0, 0
    for flips in itertools.product(("won", "lost"), repeat=10):
        process = stats.run_pairs(flips)  # type: ignore[arg-type]
        total += process.value
        crossings += process.reached(needed)
    assert total / 2**10 == pytest.approx(1.0)
    assert crossings / 2**10 <= 0.05


@settings(deadline=None, max_examples=60)
@given(counts, counts)
def test_a_win_never_lowers_and_a_loss_never_raises_the_value(won: int, lost: int) -> None:
    assert stats.e_value(won + 1, lost) > stats.e_value(won, lost) > stats.e_value(won, lost + 1) > 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["won", "lost", "tied"]), max_size=40))
def test_ties_change_nothing_and_order_does_not_matter(results: list[stats.PairResult]) -> None:
    process = stats.run_pairs(results)
    assert process.value == stats.run_pairs([r for r in sorted(results) if r != "tied"]).value
    assert process.pairs == len(results) == len(process.path)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["won", "lost", "tied"]), max_size=20), st.integers(0, 20))
def test_futile_means_that_no_future_helps(results: list[stats.PairResult], remaining: int) -> None:
    process, needed = stats.run_pairs(results), stats.threshold(0.05)
    best = process
    for _ in range(remaining):
        best = best.update("won")
    assert process.futile(needed, remaining) == (not best.reached(needed))


def test_the_shortest_winning_runs_are_the_known_ones() -> None:
    assert [stats.fewest_wins(needed) for needed in (20, 60, 160)] == [7, 9, 11]


def test_the_budget_is_split_over_the_candidates_of_a_batch() -> None:
    assert stats.threshold(0.05) == pytest.approx(20)
    assert stats.threshold(0.05, 8) == pytest.approx(160)
    for alpha, candidates in ((0.0, 1), (1.0, 1), (0.05, 0)):
        with pytest.raises(ValueError, match="alpha"):
            stats.threshold(alpha, candidates)


def test_bounds_have_the_known_values() -> None:
    assert stats.loss_upper_bound(0, 58) > 0.05 > stats.loss_upper_bound(0, 59)
    assert stats.loss_upper_bound(0, 298) > 0.01 > stats.loss_upper_bound(0, 299)
    assert stats.loss_upper_bound(1, 2) == pytest.approx(math.sqrt(0.95)), "solves 1 - x**2 = 0.05"
    assert stats.loss_upper_bound(0, 0) == stats.loss_upper_bound(4, 4) == 1.0


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.data())
def test_the_bound_is_exact_and_monotone(cases: int, data: st.DataObject) -> None:
    losses = data.draw(st.integers(0, cases - 1))
    bound = stats.loss_upper_bound(losses, cases)
    below = sum(math.comb(cases, i) * bound**i * (1 - bound) ** (cases - i) for i in range(losses + 1))
    assert below == pytest.approx(0.05, rel=1e-6)
    assert losses / cases < bound <= stats.loss_upper_bound(losses + 1, cases)
    assert stats.loss_upper_bound(losses, cases + 1) < bound


def test_ninety_nine_clean_cases_carry_three_points() -> None:
    assert stats.cases_for_margin(0.03) == 99
    assert stats.margin_for(99) == 0.03
    assert stats.margin_for(98) > 0.03
    assert stats.margin_for(1000) == 0.03
    assert stats.margin_for(29) < 0.10 < stats.margin_for(28)
    assert (stats.losses_allowed(98, 0.03), stats.losses_allowed(99, 0.03)) == (-1, 0)
    assert (stats.losses_allowed(157, 0.03), stats.losses_allowed(208, 0.03)) == (1, 2)


def test_the_bound_covers_the_true_loss_at_least_95_times_in_100() -> None:
    for cases, chance in ((50, 0.04), (120, 0.03), (120, 0.15)):
        covered = sum(
            math.comb(cases, k) * chance**k * (1 - chance) ** (cases - k)
            for k in range(cases + 1)
            if stats.loss_upper_bound(k, cases) >= chance
        )
        assert covered >= 0.95


def test_sign_test_against_enumeration() -> None:
    assert stats.sign_test(0, 5) == 1.0
    assert stats.sign_test(5, 0) == pytest.approx(1 / 32)
    assert stats.sign_test(3, 2) == pytest.approx(0.5)
    assert stats.sign_test(0, 0) == 1.0


def test_latency_needs_ratio_seconds_and_many_pairs() -> None:
    def slow(pairs: list[tuple[float, float]]) -> bool:
        ratio = stats.latency_ratio(pairs, factor=1.5, floor=0.05)
        return ratio is not None and ratio.slower()

    assert slow([(0.1, 0.4)] * 12)
    assert not slow([(0.1, 0.4)] * 3), "three pairs may be luck"
    assert not slow([(0.01, 0.04)] * 40), "30 ms are noise"
    assert not slow([(1.0, 1.2)] * 40), "20 % are within the factor"
    assert not slow([(0.1, 0.1)] * 30 + [(0.1, 9.0)] * 5), "a few outliers are not a habit"
    assert stats.latency_ratio([], factor=1.5) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=30))
def test_an_arm_is_never_slower_than_itself(pairs: list[tuple[float, float]]) -> None:
    same = stats.latency_ratio([(a, a) for a, _ in pairs], factor=1.5, floor=0.05)
    assert same is not None
    assert not same.slower()


def _accepted(rng: random.Random, base: float, cand: float, pairs: int, needed: float) -> bool:
    process = stats.EProcess()
    for done in range(pairs):
        process = process.update(stats.pair_result(rng.random() < base, rng.random() < cand))
        if process.reached(needed):
            return True
        if process.futile(needed, pairs - done - 1):
            return False
    return False


@pytest.mark.parametrize("luck", [0.3, 0.5, 0.7])
def test_a_no_op_on_a_flaky_service_is_rarely_accepted(luck: float) -> None:
    rng = random.Random(int(luck * 10))
    accepted = sum(_accepted(rng, luck, luck, 40, stats.threshold(0.05)) for _ in range(2000))
    assert accepted / 2000 <= 0.05


def test_a_real_gain_is_found() -> None:
    rng = random.Random(3)
    accepted = sum(_accepted(rng, 0.3, 0.8, 40, stats.threshold(0.05)) for _ in range(300))
    assert accepted / 300 >= 0.95


def test_the_best_of_five_no_ops_is_held_to_the_same_error() -> None:
    rng = random.Random(5)
    needed = stats.threshold(0.05, 5)
    fooled = sum(any(_accepted(rng, 0.5, 0.5, 40, needed) for _ in range(5)) for _ in range(400))
    assert fooled / 400 <= 0.05
