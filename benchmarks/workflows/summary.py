"""Figures of an arm over tasks and seeds: completion, medians, 90th percentiles, and 95 % intervals.

The unit is the task: an interval is the middle 95 % of bootstrap samples that draw whole tasks, with all their seeds, for
the seeds of one task tell less than other tasks would.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.workflows.arms import Measured

SAMPLES = 1000
COSTS = ("planner_tokens", "tool_calls", "planner_calls", "seconds")


def summary(rows: Sequence[Measured]) -> dict[str, Any]:
    by_task: dict[str, list[Measured]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    tasks = list(by_task.values())
    costs = {name: _cost(name, rows, tasks) for name in COSTS}
    return {
        "tasks": len(by_task),
        "runs": len(rows),
        "completion": completion(rows),
        "completion_interval": interval(tasks, completion),
        **costs,
    }


def _cost(name: str, rows: Sequence[Measured], tasks: Sequence[Sequence[Measured]]) -> dict[str, Any]:
    def values(some: Sequence[Measured]) -> list[float]:
        return [getattr(row, name) for row in some]

    between = interval(tasks, lambda some: median(values(some)))
    return {"median": median(values(rows)), "median_interval": between, "p90": p90(values(rows))}


def completion(rows: Sequence[Measured]) -> float:
    return round(statistics.mean(row.done for row in rows), 4)


def median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def p90(values: Sequence[float]) -> float:
    """The smallest that is not exceeded by nine in ten."""
    ordered = sorted(values)
    return round(ordered[max(0, -(-9 * len(ordered) // 10) - 1)], 3)


def interval(
    tasks: Sequence[Sequence[Measured]], figure: Callable[[Sequence[Measured]], float]
) -> tuple[float, float]:
    rng = random.Random(len(tasks))
    found = sorted(
        figure([row for task in rng.choices(tasks, k=len(tasks)) for row in task]) for _ in range(SAMPLES)
    )
    return found[SAMPLES // 40], found[-1 - SAMPLES // 40]


def by_kind(rows: Sequence[Measured], kinds: Mapping[str, str]) -> dict[str, float]:
    """Completion by the tasks' kinds."""
    found: dict[str, list[Measured]] = {}
    for row in rows:
        found.setdefault(kinds[row.task], []).append(row)
    return {kind: completion(some) for kind, some in sorted(found.items())}
