"""The arms: four that need nothing of ours but the planner, the engine and the servers, and ours. None sees the verifier.

Between two plans of one arm the world is put back as it was, for every arm alike: what counts is what the last plan did. So
a baseline is not punished for the half of a plan that it threw away.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks.workflows import react
from benchmarks.workflows.arena import Arena
from benchmarks.workflows.random_edits import random_edits
from benchmarks.workflows.setting import Arm, Setting
from benchmarks.workflows.tasks import Task
from workflows.calling import ToolRequest
from workflows.compiled import WorkflowError
from workflows.engine import run
from workflows.model import ChatModel, ModelFailed
from workflows.planner import TOOLS, Failure, Planned, PlannerFailed, read_object
from workflows.solving.solve import LIMITS, Limits, solve

MOST_TRIES = 10
"""Plans after the first one."""
MOST_TURNS = 20
"""Calls of the planner in ReAct."""
STEP_TOKENS = 512


@dataclass(frozen=True)
class Measured:
    """One task, one seed, one arm."""

    task: str
    split: str
    seed: int
    done: bool
    """By the verifier, after all is over."""
    planner_calls: int
    planner_tokens: int
    tool_calls: int
    seconds: float
    complaints: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def zero_shot(setting: Setting, request: str, /) -> str | None:
    try:
        planned = await setting.planner.plan(request)
    except PlannerFailed:
        return None
    text, _ = await _ran(planned, setting)
    return text


async def retry(setting: Setting, request: str, /) -> str | None:
    """With the error, until a plan runs through."""
    last: Failure | None = None
    text: str | None = None
    for number in range(MOST_TRIES + 1):
        if number:
            setting.arena.put_back(setting.episode)
        try:
            planned = await setting.planner.plan(request, last=last, seed=number)
        except PlannerFailed as error:
            last, text = Failure(error.text, [str(error)]), None
            continue
        text, errors = await _ran(planned, setting)
        if not errors:
            return text
        last = Failure(planned.text, errors)
    return text


async def step_by_step(setting: Setting, request: str, /) -> str | None:
    """ReAct."""
    past: list[react.Past] = []
    for number in range(MOST_TURNS):
        question = react.messages(request, past, setting.arena.catalog, TOOLS)
        try:
            said = await setting.model.complete(
                question, schema=react.STEP_SCHEMA, max_tokens=STEP_TOKENS, seed=number
            )
        except ModelFailed as error:
            past.append(react.Past("", error=str(error)))
            continue
        try:
            step = read_object(said.text)
        except PlannerFailed as error:
            past.append(react.Past(said.text, error=str(error)))
            continue
        if "tool" not in step:
            return str(step.get("answer", ""))
        past.append(await _called(setting, said.text, step))
    return None


async def repaired(setting: Setting, request: str, /) -> str | None:
    """One draft, repaired without another question; what fails is tried with what else could be meant."""
    return await _solved(setting, request, Limits(drafts=1))


async def ours(setting: Setting, request: str, /) -> str | None:
    return await _solved(setting, request, LIMITS)


async def _solved(setting: Setting, request: str, limits: Limits) -> str | None:
    arena, episode = setting.arena, setting.episode
    again = partial(arena.put_back, episode)
    found = await solve(request, setting.model, arena.catalog, episode.caller, limits=limits, again=again)
    return found.text


ARMS: Mapping[str, Arm] = {
    "zero-shot": zero_shot,
    "retry": retry,
    "react": step_by_step,
    "random edits": random_edits,
    "repair": repaired,
    "ours": ours,
}


async def measure(arm: Arm, arena: Arena, task: Task, chat: ChatModel) -> Measured:
    episode = arena.begin(task)
    began = time.perf_counter()
    answer = await arm(Setting(arena, episode, chat), task.request)
    seconds = time.perf_counter() - began
    wrong = tuple(arena.complaints(episode, answer))
    calls = len(episode.caller.calls)
    return Measured(task.id, task.split, task.seed, not wrong, chat.calls, chat.tokens, calls, seconds, wrong)


async def _ran(planned: Planned, setting: Setting) -> tuple[str | None, list[str]]:
    """The answer, and the errors of the steps by name."""
    try:
        result = await run(planned.workflow, {}, setting.episode.caller)
    except WorkflowError as error:
        return None, [str(error)]
    return result.text, [f"{record.node}: {record.error}" for record in result.failures]


async def _called(setting: Setting, said: str, step: Mapping[str, Any]) -> react.Past:
    arguments = step.get("arguments")
    request = ToolRequest("", "", 1, str(step["tool"]), arguments if isinstance(arguments, dict) else {})
    outcome = await setting.episode.caller.tool(request)
    return react.Past(said, outcome.value, outcome.error)
