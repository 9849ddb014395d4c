"""`python -m benchmarks.workflows [--arm NAME …]`: verified completion, planner tokens, tool calls and time of each arm.

JSON goes to standard output, progress to standard error. The planner is the weak one, its rates as frozen times
`--scale`, or, with `--real`, the compact model itself.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2

from benchmarks.measure import say
from benchmarks.workflows import compact_model, wire
from benchmarks.workflows.arena import Arena
from benchmarks.workflows.arms import ARMS, Measured, measure
from benchmarks.workflows.summary import by_kind, summary
from benchmarks.workflows.tasks import Task, draw_all
from benchmarks.workflows.weak_planner import RateTable, WeakPlanner
from workflows.model import ChatModel

SMALL = 6
"""Tasks and one seed, with --small: it shows that it runs, and measures nothing."""
SECONDS = 300.0


@contextmanager
def planner(options: argparse.Namespace, tasks: Sequence[Task], seed: int) -> Iterator[tuple[str, str]]:
    """Base URL and model."""
    if options.real:
        with compact_model.served() as url:
            yield url, compact_model.NAME
        return
    weak = WeakPlanner(tasks, RateTable.frozen().scaled(options.scale), seed)
    with wire.served(weak.answer) as server:
        yield server.url, "weak"


async def rows_of(name: str, options: argparse.Namespace, arena: Arena) -> list[Measured]:
    rows: list[Measured] = []
    for seed in range(1 if options.small else options.seeds):
        tasks = draw_all(seed, options.split)[: SMALL if options.small else None]
        with planner(options, tasks, seed) as (url, model):
            async with httpx2.AsyncClient() as http:
                for task in tasks:
                    chat = ChatModel(http, url, model, seconds=SECONDS)
                    rows.append(await measure(ARMS[name], arena, task, chat))
        done = sum(row.done for row in rows)
        say(f"{name}: seed {seed}: {done} of {len(rows)} done so far")
    return rows


async def measured(options: argparse.Namespace) -> dict[str, Any]:
    kinds = {task.id: task.kind for task in draw_all(0)}
    found: dict[str, Any] = {}
    async with Arena() as arena:
        for name in options.arm or ARMS:
            rows = await rows_of(name, options, arena)
            found[name] = {**summary(rows), "completion_by_kind": by_kind(rows, kinds)}
            if options.rows:
                found[name]["rows"] = [row.as_json() for row in rows]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workflows", description=__doc__)
    parser.add_argument("--arm", action="append", choices=sorted(ARMS), help="may be repeated; default: all")
    parser.add_argument("--split", choices=["tune", "test"], default="test")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the weak planner's rates")
    parser.add_argument(
        "--real", action="store_true", help="the compact model in the place of the weak planner"
    )
    parser.add_argument("--rows", action="store_true", help="each run, too")
    parser.add_argument("--small", action="store_true", help=f"{SMALL} tasks, one seed")
    options = parser.parse_args()
    head = {name: getattr(options, name) for name in ("split", "seeds", "scale", "real", "small")}
    print(json.dumps({**head, "arms": asyncio.run(measured(options))}, indent=1))


if __name__ == "__main__":
    main()
