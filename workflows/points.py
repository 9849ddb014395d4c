"""A workflow's Pareto set: what it comes to under several configurations, each measured, none beaten by another in
everything; and the choice among them.

The set stands beside the workflow, `NAME.points.json` beside `NAME.json`, and holds for the workflow with its digest alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from workflows.codec import GraphError, from_json
from workflows.graph import Workflow, strict

VERSION = 1
ENDING = ".points.json"
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class PointsError(ValueError):
    """The JSON is no set of points; the message names the first place."""


@strict
@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of `n` cases whose verification held, with its Wilson interval at 95 %."""

    value: Share
    low: Share
    high: Share
    n: Annotated[int, Field(ge=1)]


@strict
@dataclass(frozen=True, slots=True)
class Latency:
    """Of a whole run, over the cases."""

    p50: Amount
    p90: Amount


@strict
@dataclass(frozen=True, slots=True)
class Estimate:
    """What was expected of the point before it was measured. Means, but for the latency."""

    accuracy: Share
    latency_ms: Latency
    cost_micro_usd: Amount
    tokens: Amount
    tool_calls: Amount


@strict
@dataclass(frozen=True, slots=True)
class Point:
    configuration: Mapping[str, str]
    """Step -> name of its alternative. A step that is not named is as the workflow has it."""
    accuracy: Accuracy
    latency_ms: Latency
    cost_micro_usd: Annotated[int, Field(ge=0)]
    """Of a run, on average, rounded up; so are the next two, which are not rounded."""
    tokens: Amount
    tool_calls: Amount
    workflow: Mapping[str, object]
    """The workflow in this configuration, as `codec` writes it."""
    estimated: Estimate | None = None
    """None: of the workflow as it is, from which the estimates of the others are made."""

    @property
    def graph(self) -> Workflow:
        return from_json(dict(self.workflow))


@strict
@dataclass(frozen=True, slots=True)
class ParetoSet:
    workflow: str
    """Digest of the workflow that was compiled."""
    points: Annotated[tuple[Point, ...], Field(min_length=1)]
    """The most accurate first."""


def read_points(data: object) -> ParetoSet:
    """Raises PointsError, also where a point's graph is none."""
    if not isinstance(data, dict) or isinstance(data.get("v"), bool) or data.get("v") != VERSION:
        raise PointsError(f"v: expected an object with v {VERSION}")
    try:
        text = json.dumps({key: value for key, value in data.items() if key != "v"}, allow_nan=False)
        found = _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PointsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise PointsError(f"not JSON: {error}") from None
    for index, point in enumerate(found.points):
        try:
            from_json(dict(point.workflow))
        except GraphError as error:
            raise PointsError(f"points.{index}.workflow: {error}") from None
    return found


def write_points(found: ParetoSet) -> dict[str, object]:
    """As JSON; an estimate that there is not is left out."""
    points = [
        {key: value for key, value in asdict(point).items() if value is not None} for point in found.points
    ]
    return {"v": VERSION, "workflow": found.workflow, "points": points}


def points_schema() -> dict[str, Any]:
    """The published schema of a set."""
    schema = _adapter().json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "points.schema.json",
        "title": "points",
        "description": "What a workflow comes to under several configurations, measured. `workflow` is its digest.",
    }
    properties = {"v": {"const": VERSION}, **schema["properties"]}
    return {**schema, **head, "properties": properties, "required": ["v", *schema["required"]]}


def pick(
    points: Sequence[Point],
    *,
    most_seconds: float | None = None,
    most_cost: float | None = None,
    least_accuracy: float | None = None,
) -> Point:
    """The point for a request. Limits count in this order, each among the points that the ones before left; where none
    keeps a limit, those that come nearest are left. `most_seconds` is held against the latency at the 90th percentile,
    `most_cost` in micro-USD. Of what is left, the most accurate, and the cheapest of equals; with `least_accuracy` what is
    accurate enough is enough, and the cheapest of it is taken."""
    left = list(points)
    if most_seconds is not None:
        left = _within(left, most_seconds * 1000, lambda point: point.latency_ms.p90)
    if most_cost is not None:
        left = _within(left, most_cost, lambda point: point.cost_micro_usd)
    if least_accuracy is not None:
        left = _within(left, -least_accuracy, lambda point: -point.accuracy.value)
        return min(left, key=_cheapest)
    return min(left, key=lambda point: (-point.accuracy.value, *_cheapest(point)))


def _within(points: Sequence[Point], most: float, of: Callable[[Point], float]) -> list[Point]:
    """Those that keep the limit, else those that come nearest."""
    nearest = max(most, min(map(of, points)))
    return [point for point in points if of(point) <= nearest]


def _cheapest(point: Point) -> tuple[float, float, float, tuple[tuple[str, str], ...]]:
    """The last part only so that the order of a file decides nothing."""
    names = tuple(sorted(point.configuration.items()))
    return point.cost_micro_usd, point.latency_ms.p90, -point.accuracy.value, names


@cache
def _adapter() -> TypeAdapter[ParetoSet]:
    return TypeAdapter(ParetoSet)
