"""Figures of arms: completion, medians, 90th percentiles, intervals over tasks."""

import pytest

from benchmarks.workflows.arms import Measured
from benchmarks.workflows.summary import by_kind, completion, interval, p90, summary


def row(task: str, done: bool, tokens: int = 10) -> Measured:
    return Measured(task, "tune", 0, done, 1, tokens, 2, 0.5, ())


@pytest.mark.parametrize(
    ("values", "expected"), [([3], 3), ([1, 2, 3], 3), (list(range(1, 11)), 9), (list(range(1, 21)), 18)]
)
def test_nine_in_ten_do_not_exceed_it(values: list[float], expected: float) -> None:
    assert p90(values) == expected


def test_a_summary_has_medians_and_intervals() -> None:
    rows = [row(f"t{n}", n % 2 == 0, tokens=n) for n in range(10)] + [row("t0", True, tokens=100)]
    found = summary(rows)
    assert (found["tasks"], found["runs"], found["completion"]) == (10, 11, round(6 / 11, 4))
    assert found["planner_tokens"]["median"] == 5
    assert found["planner_tokens"]["p90"] == 9
    low, high = found["completion_interval"]
    assert 0 <= low < found["completion"] < high <= 1
    assert found == summary(rows)


def test_seeds_of_one_task_are_no_more_than_that_task() -> None:
    few = [[row("a", True)] * 50, [row("b", False)] * 50]
    assert interval(few, completion) == (0.0, 1.0)
    assert by_kind([row("a", True), row("b", False)], {"a": "single", "b": "chain"}) == {
        "chain": 0.0,
        "single": 1.0,
    }
