"""Hard limits: reached means stopped, named, whatever was spent before a kill included."""

import pytest

from evolve.budget import Budget, OutOfBudget
from evolve.settings import RunSection

LIMITS = RunSection(max_minutes=1, max_trials=10, max_usd=0.5, max_tokens=100)


def test_within_the_limits_nothing_is_said() -> None:
    budget = Budget(LIMITS, usd_micros=500_000, tokens=100)
    budget.spend_trials(10)
    assert 0 < budget.seconds_left <= 60


@pytest.mark.parametrize(
    ("spent", "name"),
    [
        ({"trials": 11}, "max_trials"),
        ({"usd_micros": 500_001}, "max_usd"),
        ({"tokens": 101}, "max_tokens"),
        ({"seconds_before": 60.1}, "max_minutes"),
    ],
)
def test_each_limit_ends_the_run_and_is_named(spent: dict[str, int], name: str) -> None:
    with pytest.raises(OutOfBudget, match=f"{name}: "):
        Budget(LIMITS, **spent).check()


def test_trials_are_booked_before_the_limit_is_looked_at() -> None:
    budget = Budget(LIMITS, trials=10)
    with pytest.raises(OutOfBudget):
        budget.spend_trials(1)
    assert budget.trials == 11
