"""`python -m benchmarks.workflows.fit`: the weak planner's rates, from what the real compact model answered.

The answers are in `compact_answers.jsonl`, as `ask_compact` printed them. Only those to the tune half are fitted; those to
the test half are counted beside them and decide nothing. A rate is (made + 1) / (could + 2): with few counts it stays near a
half, for little is known. Then the frozen planner is run on the tune half, zero-shot, and what it completes is written
beside what the real model completed; and one point of the curve is named by it, where it completes nearest to `NAMED`.
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
from benchmarks.workflows.tasks import Split, draw_all, patterns
from benchmarks.workflows.weak_planner import RATES, WeakPlanner, scaled
from workflows.model import ChatModel

ANSWERS = Path(__file__).with_name("compact_answers.jsonl")
FIX = 0.5
"""Assumed, not fitted: how often a weak planner puts right what an error names."""
NAMED = 0.09
SCALES = (1.0, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1)
SEEDS = 5
NOTES = (
    "fitted on the tune half alone, and frozen before any code that repairs or searches existed",
    "`prose`: the endpoint holds the model to a plan's form, so what counts is answers that never came to their end; asked "
    "without a schema the model answered with prose or a program",
    "`wrong_value` (a literal that the request does not say) is counted and not played",
    "`fix` is assumed",
)


def tallied(rows: list[dict[str, Any]], arena: Arena) -> dict[str, Any]:
    tasks, tally = {pattern.id: pattern for pattern in patterns()}, Tally()
    for row in rows:
        count(row["text"], tasks[row["task"]].draw(row["seed"]).oracle, arena.catalog, tally)
    return {
        "answers": len(rows),
        "whole": sum(row["whole"] for row in rows),
        "done": sum(row["done"] for row in rows),
        "made_of_could": {kind: [tally.made[kind], tally.could[kind]] for kind in tally.made},
    }


def rate(made: int, could: int) -> float:
    return round((made + 1) / (could + 2), 3)


async def zero_shot(arena: Arena, rates: Mapping[str, float], split: Split) -> float:
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
    rows = [json.loads(line) for line in ANSWERS.read_text().splitlines()]
    held = [row for row in rows if not row["free"]]
    async with Arena() as arena:
        tune, test = (
            tallied([row for row in held if row["split"] == split], arena) for split in ("tune", "test")
        )
        free = tallied([row for row in rows if row["free"]], arena)
        counts = tune["made_of_could"]
        rates = {**{kind: rate(*counts[kind]) for kind in KINDS}, "fix": FIX}
        curve = {}
        for scale in SCALES:
            curve[scale] = await zero_shot(arena, scaled(rates, scale), "tune")
            say(f"rates times {scale}: zero-shot {curve[scale]:.1%} of the tune half")
    fix = rates.pop("fix")
    named = min(curve, key=lambda scale: abs(curve[scale] - NAMED))
    table = {
        "rates": rates,
        "fix": fix,
        "model": NAME,
        "notes": NOTES,
        "made_by": "python -m benchmarks.workflows.fit",
        "tune": tune,
        "test": test,
        "without_schema": free,
        "zero_shot_of_the_weak_planner_on_tune_by_scale": curve,
        "scale_nearest_to_9_percent": named,
    }
    RATES.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
