"""A planner and tools for turns that plan, and what comes of it."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.planning import planned
from harness.settings import Limits, Planning, Policy
from harness.turn import ModelReply, ModelRequest, Usage
from workflows.calling import ModelRequest as WorkflowAsk
from workflows.calling import Outcome, ToolRequest
from workflows.catalog import ToolSpec, catalog

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
MARK = {"type": "object", "properties": {"mark": {"type": "string"}}, "required": ["mark"]}
TOOLS = catalog(
    [
        ToolSpec("shop", "look", "Look a person up by name.", NAME, idempotent=True, effect="read"),
        ToolSpec("shop", "mark", "Set a mark.", MARK, effect="write"),
    ]
)
LOOK = {"id": "s1", "tool": "shop/look", "arguments": {"name": "Ada"}}
MARKED = {"id": "s2", "tool": "shop/mark", "arguments": {"mark": "blue"}}
BOB = LOOK | {"arguments": {"name": "Bob"}}
DOUBTFUL = json.dumps({"steps": [BOB], "answer": "Found {s1}."})
"""Nobody said Bob."""
ASKED = "Look Ada up."
BOTH = "Look Ada up and set the mark blue."


def drafts(*steps: Any, answer: str = "Found {s1}.") -> str:
    return json.dumps({"steps": steps, "answer": answer})


@dataclass
class Told:
    """Answers one after the other, the last one for ever; an exception is raised."""

    answers: Sequence[str | Exception]
    finish: str = "stop"
    asked: list[ModelRequest] = field(default_factory=list)
    wait: float = 0.0

    async def ask(self, request: ModelRequest) -> ModelReply:
        self.asked.append(request)
        said = self.answers[min(len(self.asked), len(self.answers)) - 1]
        await asyncio.sleep(self.wait)
        if isinstance(said, Exception):
            raise said
        return ModelReply(said, (), self.finish, Usage(90, 10))


@dataclass
class Calls:
    answer: Callable[[ToolRequest], Outcome] = lambda request: Outcome("a person")
    made: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def tool(self, request: ToolRequest) -> Outcome:
        self.made.append(request.tool)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return self.answer(request)

    async def model(self, request: WorkflowAsk) -> Outcome:
        raise AssertionError

    def repeatable(self, tool: str) -> bool:
        return False


@dataclass
class Made:
    text: str | None = None
    facts: list[dict[str, Any]] = field(default_factory=list)
    cut_off: bool = False


def made(
    told: Told,
    calls: Calls | None = None,
    request: str = ASKED,
    earlier: Sequence[str] = (),
    within: float = 30.0,
    **planning: Any,
) -> Made:
    """What comes of it; after `within` seconds the turn is cut off."""
    policy = Policy(limits=Limits(parallel_tools=2), planning=Planning(**planning))
    found, caller = Made(), calls or Calls()

    async def run() -> None:
        task = asyncio.create_task(
            planned(request, earlier, told.ask, TOOLS, caller, policy, found.facts.append)
        )
        done, _ = await asyncio.wait({task}, timeout=within)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=5)
        found.cut_off = task.cancelled()
        found.text = None if found.cut_off else task.result()

    asyncio.run(run())
    return found
