"""A Pareto set as a file, and the choice of a point for a request."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pareto_points import NOTHING, point

from workflows.__main__ import published
from workflows.codec import digest
from workflows.points import ParetoSet, Point, PointsError, pick, read_points, write_points

DOCS = Path(__file__).parents[3] / "docs" / "schemas"
SOME = ParetoSet(digest(NOTHING), (point(0.9, 2, 50), point(0.5, 1, 10, "b")))
points = st.lists(
    st.builds(point, st.integers(0, 4).map(lambda n: n / 4), st.integers(0, 4), st.integers(0, 4)),
    min_size=1,
    max_size=6,
)
limits = st.none() | st.integers(0, 4)


@given(points, limits, limits, st.none() | st.integers(0, 4).map(lambda n: n / 4))
def test_a_limit_that_can_be_kept_is_kept(
    found: list[Point], most_seconds: int | None, most_cost: int | None, least_accuracy: float | None
) -> None:
    """All at once where some point keeps them all; else each that can be kept beside those that count more."""
    picked = pick(found, most_seconds=most_seconds, most_cost=most_cost, least_accuracy=least_accuracy)
    assert picked in found
    keeps = [
        lambda one: most_seconds is None or one.latency_ms.p90 <= most_seconds * 1000,
        lambda one: most_cost is None or one.cost_micro_usd <= most_cost,
        lambda one: least_accuracy is None or one.accuracy.value >= least_accuracy,
    ]
    if any(all(keep(one) for keep in keeps) for one in found):
        assert all(keep(picked) for keep in keeps)
    for index in (1, 2):
        if any(all(keep(one) for keep in keeps[:index]) for one in found):
            assert all(keep(picked) for keep in keeps[:index])


@given(points, st.randoms(use_true_random=False))
def test_the_order_of_the_file_decides_nothing(found: list[Point], rng: object) -> None:
    mixed = list(found)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    assert pick(mixed) == pick(found)
    assert pick(mixed, least_accuracy=0.5) == pick(found, least_accuracy=0.5)


@pytest.mark.parametrize(
    ("limits", "picked"),
    [
        ({}, (0.9, 2)),
        ({"least_accuracy": 0.5}, (0.8, 1)),
        ({"least_accuracy": 0.85}, (0.9, 2)),
        ({"least_accuracy": 1.0}, (0.9, 2)),
        ({"most_seconds": 1.5}, (0.8, 1)),
        ({"most_seconds": 0.5}, (0.8, 1)),
        ({"most_cost": 45, "most_seconds": 9.0}, (0.8, 1)),
        ({"most_cost": 45, "least_accuracy": 0.9}, (0.8, 1)),
    ],
)
def test_what_is_picked(limits: dict[str, float], picked: tuple[float, float]) -> None:
    found = [point(0.9, 2, 50), point(0.9, 2, 60), point(0.8, 1, 40)]
    one = pick(found, **limits)
    assert (one.accuracy.value, one.latency_ms.p90 / 1000) == picked
    assert one.cost_micro_usd < 60


def test_a_set_comes_back_from_its_file() -> None:
    table = json.loads(json.dumps(write_points(SOME)))
    assert read_points(table) == SOME
    assert "estimated" not in table["points"][0]
    Draft202012Validator(published()["points.schema.json"]).validate(table)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"v": 2}, "v: expected"),
        ({"points": []}, "points"),
        ({"more": 1}, "more"),
        ({"points": [{"configuration": {}}]}, "points.0"),
        ({"points": [write_points(SOME)["points"][0] | {"workflow": {"v": 1}}]}, "points.0.workflow"),  # type: ignore[index]
        ({"points": [write_points(SOME)["points"][0] | {"cost_micro_usd": -1}]}, "cost_micro_usd"),  # type: ignore[index]
        ({"points": [write_points(SOME)["points"][0] | {"tokens": float("nan")}]}, "JSON"),  # type: ignore[index]
    ],
)
def test_what_is_no_set_is_told(change: dict[str, object], says: str) -> None:
    with pytest.raises(PointsError, match=says):
        read_points(write_points(SOME) | change)
    with pytest.raises(PointsError):
        read_points([change])


@pytest.mark.parametrize("name", sorted(published()))
def test_published_schemas_are_not_stale(name: str) -> None:
    assert json.loads((DOCS / name).read_text()) == published()[name], (
        "run `python -m workflows docs/schemas`"
    )
