"""Caps hold whatever is reserved and settled, in whatever order, and survive a restart."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trial.gateway.config import Caps, Price
from trial.gateway.meter import Cost, Meter, OverBudget, price_of

amounts = st.integers(0, 60)


class Spending(RuleBasedStateMachine):
    """A model keeps what is really owed; the meter may never let it pass a cap."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "meter.json")
        self.caps = Caps(micro_usd=100, tokens=200, calls=8)
        self.meter = Meter(self.caps, self.path)
        self.open: list[Cost] = []
        self.owed = Cost()

    @rule(money=amounts, tokens=amounts)
    def reserve(self, money: int, tokens: int) -> None:
        worst = Cost(money, tokens, 1)
        after = self.owed.plus(worst)
        fits = after.micro_usd <= 100 and after.tokens <= 200 and after.calls <= 8
        if not fits:
            with pytest.raises(OverBudget, match="the cap is"):
                self.meter.reserve(worst)
            return
        self.open.append(self.meter.reserve(worst))
        self.owed = after

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        worst = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        actual = Cost(
            data.draw(st.integers(0, worst.micro_usd)), data.draw(st.integers(0, worst.tokens)), worst.calls
        )
        self.meter.settle(worst, actual)
        self.owed = self.owed.plus(worst, -1).plus(actual)

    @rule()
    def restart(self) -> None:
        self.meter = Meter(self.caps, self.path)
        self.open = []

    @invariant()
    def agree(self) -> None:
        assert self.meter.spent == self.owed
        assert self.owed.micro_usd <= 100

    def teardown(self) -> None:
        self.folder.cleanup()


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_prices_round_up() -> None:
    assert price_of(Price(input=1, output=0), 1, 0) == 1
    assert price_of(Price(input=3_000_000, output=15_000_000), 1000, 100) == 4500
    assert price_of(None, 10**9, 10**9) == 0


@given(cap=amounts, lent=amounts, worst=amounts)
def test_what_is_lent_is_left_alone_for_as_long_as_it_is(cap: int, lent: int, worst: int) -> None:
    meter, cost = Meter(Caps(micro_usd=cap)), Cost(worst)
    with meter.lending(Cost(lent)):
        assert meter.spent == Cost()
        if worst + lent > cap:
            with pytest.raises(OverBudget, match="the cap is"):
                meter.reserve(cost)
        else:
            meter.settle(meter.reserve(cost), Cost())
    if worst <= cap:
        assert meter.reserve(cost) == cost
