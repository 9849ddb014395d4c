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
from benchmarks.workflows.compact_model import served
from benchmarks.workflows.tasks import Task, draw_all
from workflows.callers import Counted, Spent
from workflows.compiled import WorkflowError
from workflows.engine import run
from workflows.plan import PlanError, from_plan
from workflows.planner import SCHEMA, PlannerFailed, messages, read_object, shown_tools

MAX_TOKENS, SECONDS, MOST_CALLS = 320, 300.0, 20


async def asked(arena: Arena, http: httpx2.AsyncClient, url: str, task: Task, free: bool) -> dict[str, Any]:
    """An answer that was cut off is kept, too."""
    shown = shown_tools(arena.catalog, task.request)
    body: dict[str, Any] = {
        "messages": messages(task.request, shown, arena.catalog),
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "seed": task.seed,
    }
    if not free:
        form = {"name": "plan", "schema": SCHEMA, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    reply = (await http.post(f"{url}/chat/completions", json=body, timeout=SECONDS)).json()
    [choice] = reply["choices"]
    text, whole = choice["message"]["content"], choice["finish_reason"] != "length"
    used = {key: reply["usage"][key] for key in ("prompt_tokens", "completion_tokens")}
    row = {"task": task.id, "split": task.split, "seed": task.seed, "free": free, "whole": whole, **used}
    return {**row, "done": whole and await _done(arena, task, text), "text": text}


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
    parser.add_argument("--threads", type=int, default=2, help="more than are free make it much slower")
    options = parser.parse_args()
    with served(options.threads) as url:
        async with Arena() as arena, httpx2.AsyncClient() as http:
            for task in draw_all(options.seed, options.split):
                print(json.dumps(await asked(arena, http, url, task, options.free)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
