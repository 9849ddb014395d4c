"""`python -m benchmarks.workflows.learn_types`: run the tune half's oracles and write what their results' types are.

A tool that gave a text now and an object then is left open: what the next result will be nobody knows.
"""

import asyncio
import json

from benchmarks.workflows.arena import LEARNT, Arena
from benchmarks.workflows.tasks import draw_all
from workflows.engine import run
from workflows.learn import learn
from workflows.plan import from_plan
from workflows.types import Schema

SEEDS = range(3)


async def learnt() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    async with Arena(learnt={}) as arena:
        for task in (task for seed in SEEDS for task in draw_all(seed, "tune")):
            episode = arena.begin(task)
            await run(from_plan(task.oracle), {}, episode.caller)
            for request, outcome in episode.calls:
                spec = arena.catalog.get(request.tool)
                if outcome.error is None and spec is not None and spec.output_schema is None:
                    found[request.tool] = learn(found.get(request.tool), outcome.value)
    return {tool: schema for tool, schema in sorted(found.items()) if isinstance(schema.get("type"), str)}


if __name__ == "__main__":
    LEARNT.write_text(json.dumps(asyncio.run(learnt()), indent=1) + "\n")
