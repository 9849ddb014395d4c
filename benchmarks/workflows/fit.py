"""`python -m benchmarks.workflows.fit`: the weak planner's rates, from what the real compact model answered.

The answers are in `compact_answers.jsonl` and `compact_steps.jsonl`, as `ask_compact` and `ask_steps` printed them. Only
those to the tune half are fitted; those to the test half are counted beside them and decide nothing. A rate is
(made + 1) / (could + 2): with few counts it stays near a half, for little is known. Then the frozen planner is run on the
tune half, zero-shot, and what it completes is written beside what the real model completed; and one point of the curve is
named by it, where it completes nearest to `NAMED`.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.measure import say
from benchmarks.workflows import wire
from benchmarks.workflows.arena import Arena
from benchmarks.workflows.arms import ARMS, measure
from benchmarks.workflows.compact_model import NAME
from benchmarks.workflows.errors import Tally, count
from benchmarks.workflows.slips import KINDS
from benchmarks.workflows.step_errors import count_step
from benchmarks.workflows.tasks import Split, draw_all, patterns
from benchmarks.workflows.weak_planner import RATES, RateTable, WeakPlanner
from workflows.model import ChatModel

ANSWERS = Path(__file__).with_name("compact_answers.jsonl")
STEPS = Path(__file__).with_name("compact_steps.jsonl")
FIX = 0.5
"""Assumed, not fitted: how often a weak planner puts right what an error names."""
NAMED = 0.09
SCALES = (1.0, 0.85, 0.7, 0.5, 0.35, 0.2)
SEEDS = 5
NOTES = (
    "fitted on the tune half alone, and frozen before any code that repairs or searches was written",
    "`prose` in plans: the endpoint holds the model to a plan's form, so what counts is answers that never came to their "
    "end; without that form (`without_schema`) the model answers with prose or with a program",
    "`wrong_value` (a literal that the request does not say) is counted and not played",
    "ReAct: asked what comes next, the real model nearly always called again what had been called (`repeats`); that is "
    "not played, for it would leave nothing to compare. ReAct has the plans' rates, its own rate of prose, and loses no "
    "value that stands in its prompt, as plans lose no literal of the request",
    "`fix` is assumed",
)
Rows = list[dict[str, Any]]


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def of_plans(rows: Rows, arena: Arena) -> dict[str, Any]:
    tasks, tally = {pattern.id: pattern for pattern in patterns()}, Tally()
    for row in rows:
        count(row["text"], tasks[row["task"]].draw(row["seed"]).oracle, arena.catalog, tally)
    done = sum(row["done"] for row in rows)
    return {
        "answers": len(rows),
        "whole": sum(row["whole"] for row in rows),
        "tasks_done": done,
        **_counts(tally),
    }


def of_steps(rows: Rows, arena: Arena) -> dict[str, Any]:
    tally = Tally()
    for row in rows:
        count_step(row["text"], row["right"], arena.catalog, tally)
    repeats = sum(_called_before(row) for row in rows)
    whole = sum(row["whole"] for row in rows)
    return {"answers": len(rows), "whole": whole, "repeats": repeats, **_counts(tally)}


def _called_before(row: Mapping[str, Any]) -> bool:
    """A call of a tool that the oracle called before the step in question."""
    task = next(pattern for pattern in patterns() if pattern.id == row["task"]).draw(row["seed"])
    tools: list[str] = []
    for step in task.oracle["steps"]:
        if step["tool"] == row["right"].get("tool"):
            break
        tools.append(step["tool"])
    return any(f'"tool": "{tool}"' in row["text"] for tool in tools)


def _counts(tally: Tally) -> dict[str, Any]:
    return {"made_of_could": {kind: [tally.made[kind], tally.could[kind]] for kind in tally.made}}


def rates_of(tune: Mapping[str, Any]) -> dict[str, float]:
    return {kind: _rate(*tune["made_of_could"][kind]) for kind in KINDS}


def step_rates_of(plan: Mapping[str, float], step: Mapping[str, Any]) -> dict[str, float]:
    return {**plan, "prose": _rate(*step["made_of_could"]["prose"]), "lost_dependency": 0.0}


def _rate(made: int, could: int) -> float:
    return round((made + 1) / (could + 2), 3)


async def zero_shot(arena: Arena, rates: RateTable, split: Split) -> float:
    done, runs = 0, 0
    for seed in range(SEEDS):
        tasks = draw_all(seed, split)
        with wire.served(WeakPlanner(tasks, rates, seed).answer) as server:
            async with httpx2.AsyncClient() as http:
                for task in tasks:
                    done += (
                        await measure(ARMS["zero-shot"], arena, task, ChatModel(http, server.url, "weak"))
                    ).done
                    runs += 1
    return round(done / runs, 4)


async def main() -> None:
    plans, steps = read(ANSWERS), read(STEPS)
    held = {
        split: [row for row in plans if row["split"] == split and not row["free"]]
        for split in ("tune", "test")
    }
    curve: dict[float, float] = {}
    async with Arena() as arena:
        tune, test = of_plans(held["tune"], arena), of_plans(held["test"], arena)
        free, step = of_plans([row for row in plans if row["free"]], arena), of_steps(steps, arena)
        plan_rates = rates_of(tune)
        step_rates = step_rates_of(plan_rates, step)
        for scale in SCALES:
            table = RateTable(plan_rates, step_rates, FIX).scaled(scale)
            curve[scale] = await zero_shot(arena, table, "tune")
            say(f"rates times {scale}: zero-shot {curve[scale]:.1%} of the tune half")
    found = {
        "made_by": "python -m benchmarks.workflows.fit",
        "model": NAME,
        "notes": NOTES,
        "plan": {"rates": plan_rates, "tune": tune, "test": test, "without_schema": free},
        "step": {"rates": step_rates, "tune": step},
        "fix": FIX,
        "zero_shot_of_the_weak_planner_on_tune_by_scale": curve,
        "scale_nearest_to_9_percent": min(curve, key=lambda scale: abs(curve[scale] - NAMED)),
    }
    RATES.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
