"""`python -m benchmarks.workflows.ask_steps SPLIT`: what the real compact model calls next, one line of JSON a question.

ReAct with a teacher: all calls before were the oracle's, with their real results. Asked are the steps that take a value from
a result, and the answers that do; so it is seen how often a value that stands in the prompt is lost.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from benchmarks.workflows import react
from benchmarks.workflows.arena import Arena
from benchmarks.workflows.compact_model import served
from benchmarks.workflows.tasks import Json, Task, draw_all
from workflows.engine import run
from workflows.plan import REFERENCE, from_plan
from workflows.planner import TOOLS
from workflows.record import NodeRecord

MAX_TOKENS, SECONDS = 160, 300.0


def questions(
    task: Task, records: Mapping[str, NodeRecord], arena: Arena
) -> Iterator[tuple[Json, list[dict[str, str]]]]:
    """What is right, and the prompt."""
    past: list[react.Past] = []
    for step in task.oracle["steps"]:
        known = dict(records[step["id"]].arguments)
        taken = [name for name, value in step["arguments"].items() if _refers(value)]
        if taken:
            right = {"tool": step["tool"], "arguments": known, "taken": taken}
            yield right, react.messages(task.request, past, arena.catalog, TOOLS)
        said = json.dumps({"tool": step["tool"], "arguments": known}, ensure_ascii=False)
        past.append(react.Past(said, records[step["id"]].value))
    values = [str(value) for value in records["answer"].arguments.values()]
    if values:
        yield {"answer": values}, react.messages(task.request, past, arena.catalog, TOOLS)


def _refers(value: object) -> bool:
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("split", choices=["tune", "test"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with served(options.threads) as url:
        async with Arena() as arena, httpx2.AsyncClient() as http:
            for task in draw_all(0, options.split):
                result = await run(from_plan(task.oracle), {}, arena.begin(task).caller)
                records = {record.node: record for record in result.records}
                for right, question in questions(task, records, arena):
                    row: dict[str, Any] = {"task": task.id, "split": task.split, "seed": 0, "right": right}
                    print(json.dumps({**row, **await asked(http, url, question)}), flush=True)


async def asked(http: httpx2.AsyncClient, url: str, question: list[dict[str, str]]) -> dict[str, Any]:
    form = {"name": "step", "schema": react.STEP_SCHEMA, "strict": True}
    body = {
        "messages": question,
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "seed": 0,
        "response_format": {"type": "json_schema", "json_schema": form},
    }
    [choice] = (await http.post(f"{url}/chat/completions", json=body, timeout=SECONDS)).json()["choices"]
    return {"whole": choice["finish_reason"] != "length", "text": choice["message"]["content"]}


if __name__ == "__main__":
    asyncio.run(main())
