"""A caller whose answers are a function of the call, and that remembers what it was asked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from workflows.calling import ModelRequest, Outcome, ToolRequest


@dataclass
class Scripted:
    answer: Callable[[ToolRequest], Outcome] = lambda request: Outcome({"y": [1]})
    say: Callable[[ModelRequest], Outcome] = lambda request: Outcome(request.prompt)
    turns: Callable[[ToolRequest], int] = lambda request: 1
    """How often the event loop goes round before the answer is there."""
    repeatable_tools: bool = True
    asked: list[ToolRequest] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def tool(self, request: ToolRequest) -> Outcome:
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(self.turns(request)):
                await asyncio.sleep(0)
            return self.answer(request)
        finally:
            self.running -= 1

    async def model(self, request: ModelRequest) -> Outcome:
        await asyncio.sleep(0)
        return self.say(request)

    def repeatable(self, tool: str) -> bool:
        return self.repeatable_tools
