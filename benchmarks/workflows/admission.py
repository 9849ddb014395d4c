"""What makes a task a fair one: its oracle passes, and nothing less does."""

import re
from collections.abc import Mapping
from typing import Any

from benchmarks.workflows.arena import Arena
from benchmarks.workflows.tasks import Json, Task
from workflows.check import check
from workflows.engine import run
from workflows.plan import from_plan

NO_REFERENCE = ""
"""What stands in the place of a reference to a step that was left out: whoever does without the step knows nothing."""


async def refusals(arena: Arena, task: Task) -> list[str]:
    """Each in a line; none admits the task."""
    wrong = [f"oracle: {problem}" for problem in check(from_plan(task.oracle), arena.catalog)]
    answer, found = await _tried(arena, task, task.oracle)
    wrong += [f"oracle: {complaint}" for complaint in found]
    if not await _nothing_done(arena, task, None):
        wrong.append("passes when nothing is done")
    if not await _nothing_done(arena, task, answer):
        wrong.append("passes with the oracle's answer and no calls")
    for step in task.oracle["steps"]:
        _, found = await _tried(arena, task, without(task.oracle, step["id"]))
        if not found:
            wrong.append(f"passes without {step['id']}")
    return wrong


def unknowable(task: Task) -> list[str]:
    """Nonces in the oracle that the request does not tell: nobody could plan them."""
    plan = str(task.oracle)
    return [
        name
        for name, value in task.nonces.items()
        if re.search(rf"\b{re.escape(str(value))}\b", plan) and str(value) not in task.request
    ]


def without(plan: Json, step_id: str) -> Json:
    """The plan with one step less, and with nothing where its result was used."""
    reference = re.compile(rf"\{{{step_id}(\.[^{{}}]+)?\}}")
    steps = [
        {
            **step,
            "arguments": {name: _less(value, reference) for name, value in step["arguments"].items()},
            "after": [name for name in step.get("after", []) if name != step_id],
        }
        for step in plan["steps"]
        if step["id"] != step_id
    ]
    return {"steps": steps, "answer": reference.sub(NO_REFERENCE, plan["answer"])}


def _less(value: Any, reference: re.Pattern[str]) -> Any:
    return NO_REFERENCE if isinstance(value, str) and reference.fullmatch(value) else value


async def _tried(arena: Arena, task: Task, plan: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    episode = arena.begin(task)
    result = await run(from_plan(plan), {}, episode.caller)
    errors = [f"{record.node}: {record.error}" for record in result.failures]
    found = list(arena.complaints(episode, result.text))
    return result.text, found and [*errors, *found]


async def _nothing_done(arena: Arena, task: Task, answer: str | None) -> list[str]:
    return list(arena.complaints(arena.begin(task), answer))
