"""What an arm has at hand, and what it is."""

from dataclasses import dataclass
from typing import Protocol

from benchmarks.workflows.arena import Arena, Episode
from workflows.model import ChatModel
from workflows.planner import Planner


@dataclass(frozen=True)
class Setting:
    """What an arm has at hand."""

    arena: Arena
    episode: Episode
    model: ChatModel

    @property
    def planner(self) -> Planner:
        return Planner(self.model, self.arena.catalog)


class Arm(Protocol):
    async def __call__(self, setting: Setting, request: str, /) -> str | None:
        """The answer, or None. All that an arm gets to know of a task is its request."""
        ...
