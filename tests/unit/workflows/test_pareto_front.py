"""The front, and the search for it."""

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.graph import OutputNode, ToolNode, Workflow
from workflows.pareto.front import (
    MOST,
    beats,
    estimated,
    front_of,
    spread,
    undominated,
)
from workflows.pareto.space import Alternative, Choice, Configurations, Space
from workflows.points import Estimate, Latency

scores = st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=12)


@given(scores)
def test_none_of_a_front_is_beaten_and_all_else_is(found: list[tuple[float, ...]]) -> None:
    front = undominated(found, lambda score: score)
    assert not any(beats(one, other) for one in front for other in front)
    assert len(set(front)) == len(front)
    for score in found:
        assert score in front or any(beats(one, score) for one in front)


@given(st.integers(0, 40), st.integers(1, 20))
def test_a_spread_has_both_ends_and_no_more_than_it_may(length: int, most: int) -> None:
    found = spread(range(length), most)
    assert found == sorted(set(found))
    assert len(found) == min(length, most)
    if length:
        assert found[0] == 0
        assert most == 1 or found[-1] == length - 1


def space(steps: int, alternatives: int) -> Space:
    names = [f"s{index:02}" for index in range(steps)]
    nodes = [*(ToolNode(id=name, tool="s/tool") for name in names), OutputNode(id="out", text="")]
    given = {f"a{index}": Alternative(retries=index) for index in range(alternatives)}
    return Space(Workflow("w", "", tuple(nodes)), Configurations(dict.fromkeys(names, given)))


def additive(space: Space, seed: int) -> tuple[Callable[[Choice], Estimate], list[int]]:
    """Each step's alternative adds its own to each place; and the least that each place can come to."""
    dice = random.Random(seed)
    parts = {
        step: {name: [dice.randint(0, 9) for _ in range(3)] for name in space.names(step)}
        for step in space.steps
    }

    def estimate(choice: Choice) -> Estimate:
        chosen = [parts[step][name] for step, name in zip(space.steps, choice, strict=True)]
        lost, cost, time = (sum(part[index] for part in chosen) for index in range(3))
        return Estimate(1 - lost / 1000, Latency(p50=time, p90=time), cost, 0.0, 0.0)

    least = [
        sum(min(part[index] for part in named.values()) for named in parts.values()) for index in range(3)
    ]
    return estimate, least


def test_few_choices_are_all_looked_at() -> None:
    few = space(3, 3)
    estimate, _ = additive(few, 1)
    assert len(estimated(few, estimate, 0)) == few.size == 64


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 999))
def test_of_many_the_search_finds_the_ends_of_the_front_within_its_bounds(seed: int) -> None:
    many = space(8, 2)
    estimate, least = additive(many, seed)
    found = estimated(many, estimate, seed)
    assert many.size == 3**8
    assert len(found) <= MOST
    assert found == estimated(many, estimate, seed)
    front = [found[choice] for choice in front_of(found)]
    ends = [1 - max(one.accuracy for one in front), min(one.cost_micro_usd for one in front)]
    assert [round(ends[0] * 1000), ends[1]] == least[:2]
    assert min(one.latency_ms.p50 for one in front) == least[2]
