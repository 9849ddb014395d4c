"""`python -m benchmarks.workflows.ask_compact SPLIT [--free] [--seed N]`: what the real compact model plans, one line
of JSON a task, and whether that plan did the task.

`--free`: without a JSON Schema that holds the model to the form of a plan.
"""

import argparse
import asyncio
import json
from typing import Any

import httpx2

from benchmarks.workflows.arena import Arena
from benchmarks.workflows.compact_model import NAME, served
from benchmarks.workflows.tasks import Task, draw_all
from workflows.callers import Counted, Spent
from workflows.compiled import WorkflowError
from workflows.engine import run
from workflows.model import ChatModel, ModelFailed
from workflows.plan import PLAN_SCHEMA, PlanError, from_plan
from workflows.planner import PlannerFailed, messages, read_object, shown_tools

MAX_TOKENS, SECONDS, MOST_CALLS = 384, 300.0, 20


async def asked(arena: Arena, model: ChatModel, task: Task, free: bool) -> dict[str, Any]:
    shown = shown_tools(arena.catalog, task.request)
    row: dict[str, Any] = {"task": task.id, "split": task.split, "seed": task.seed, "free": free}
    row["shown"] = [spec.key for spec in shown]
    question = messages(task.request, shown, arena.catalog)
    try:
        said = await model.complete(
            question, schema=None if free else PLAN_SCHEMA, max_tokens=MAX_TOKENS, seed=task.seed
        )
    except ModelFailed as error:
        return {**row, "text": None, "failed": str(error), "done": False}
    row |= {
        "text": said.text,
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.completion_tokens,
    }
    return {**row, "done": await _done(arena, task, said.text)}


async def _done(arena: Arena, task: Task, text: str) -> bool:
    episode = arena.begin(task)
    try:
        result = await run(from_plan(read_object(text)), {}, Counted(episode.caller, MOST_CALLS))
    except (PlannerFailed, PlanError, WorkflowError, Spent):
        return False
    return not arena.complaints(episode, result.text)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("split", choices=["tune", "test"])
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with served() as url:
        async with Arena() as arena, httpx2.AsyncClient() as http:
            model = ChatModel(http, url, NAME, seconds=SECONDS)
            for task in draw_all(options.seed, options.split):
                print(json.dumps(await asked(arena, model, task, options.free)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
