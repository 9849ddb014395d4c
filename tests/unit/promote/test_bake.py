"""The bake's tests: what they reject, what they let pass, and how often they are wrong."""

import random

from hypothesis import given
from hypothesis import strategies as st

from promote.bake import Bake, BakeRules, HarmTest, baseline_of, failed
from promote.gate import TurnMark
from promote.records import Baseline

RULES = BakeRules()


def marks(outcomes: list[bool], ms: float = 10.0) -> list[TurnMark]:
    return [TurnMark(seq, 2, 500 if bad else 200, ms) for seq, bad in enumerate(outcomes)]


def bake(base: Baseline | None = None, turns: int = 50) -> Bake:
    return Bake(RULES, base or Baseline(turns=200, failures=0, p95_ms=10.0), 10.0, turns, 60.0)


def test_a_clean_window_is_healthy_only_when_time_and_turns_are_there() -> None:
    watched = bake()
    watched.see(marks([False] * 49))
    assert watched.judge(11.0)[0] == "baking"
    watched.see(marks([False]))
    assert watched.judge(9.9)[0] == "baking"
    assert watched.judge(10.0)[0] == "healthy"


def test_a_service_that_always_fails_is_found_within_five_turns() -> None:
    watched = bake()
    watched.see(marks([True] * 5))
    assert watched.judge(0.1)[0] == "unhealthy"


def test_an_answer_that_never_began_is_a_failure_and_a_refusal_is_not() -> None:
    assert failed(TurnMark(1, 1, 0, 1.0))
    assert failed(TurnMark(1, 1, 503, 1.0))
    assert not failed(TurnMark(1, 1, 404, 1.0))


def test_turns_that_became_slow_are_found_and_ordinary_noise_is_not() -> None:
    slow, noisy = bake(), bake()
    slow.see(marks([False] * 30, ms=2000.0))
    noisy.see(marks([False] * 60, ms=300.0))
    assert slow.judge(1.0)[0] == "unhealthy"
    assert noisy.judge(11.0)[0] == "healthy"


def test_without_known_latency_nothing_is_called_slow() -> None:
    watched = bake(Baseline(turns=3, p95_ms=10.0))
    watched.see(marks([False] * 60, ms=5000.0))
    assert watched.judge(11.0)[0] == "healthy"


def test_too_few_turns_at_the_limit_are_no_proof_of_health() -> None:
    watched = bake()
    watched.see(marks([False] * 10))
    word, why = watched.judge(60.0)
    assert word == "unhealthy"
    assert "not shown" in why


def test_the_old_instance_sets_the_bound() -> None:
    flaky = Baseline(turns=100, failures=30, p95_ms=10.0)
    pattern = [number % 10 < 3 for number in range(100)]
    tolerant, strict = bake(flaky), bake()
    tolerant.see(marks(pattern))
    strict.see(marks(pattern))
    assert tolerant.judge(11.0)[0] == "healthy"
    assert strict.judge(11.0)[0] == "unhealthy"


def test_looking_after_every_turn_keeps_the_error_bound() -> None:
    dice, wrong = random.Random(7), 0
    for _ in range(1000):
        test = HarmTest(0.05, 0.05)
        for _ in range(150):
            test.see(dice.random() < 0.05)
            if test.rejected:
                wrong += 1
                break
    assert wrong <= 67  # 5 % and three standard errors


def test_a_real_rise_is_found_nearly_always() -> None:
    dice, found = random.Random(8), 0
    for _ in range(200):
        test = HarmTest(0.05, 0.005)
        for _ in range(150):
            test.see(dice.random() < 0.3)
            if test.rejected:
                found += 1
                break
    assert found >= 195


@given(st.lists(st.tuples(st.integers(0, 599), st.floats(0.1, 1e5)), max_size=60))
def test_a_baseline_counts_what_it_saw(seen: list[tuple[int, float]]) -> None:
    found = baseline_of(TurnMark(seq, 1, status, ms) for seq, (status, ms) in enumerate(seen))
    assert found.turns == len(seen)
    assert found.failures == sum(status == 0 or status >= 500 for status, _ in seen)
    assert found.p95_ms <= max((ms for _, ms in seen), default=0.0)
