"""What a search is given, and what it comes to."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from workflows.graph import Workflow
from workflows.searching.fitness import NOTHING, Fitness, Spending
from workflows.searching.population import Tried


@dataclass(frozen=True, slots=True)
class Limits:
    """Nothing is begun once one is reached. None: no limit."""

    tool_calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    ask_after: int = 2
    """Generations without progress before a model is asked for edits, and twice as many before it redesigns."""
    give_up_after: int = 12
    """Generations without progress."""


class Proposal(NamedTuple):
    workflows: Sequence[Workflow]
    spent: Spending = NOTHING


class Found(NamedTuple):
    best: Tried
    course: tuple[Tried, ...]
    """From what it was begun with to the best, each made of the one before."""
    front: tuple[Tried, ...]
    """Of all that were tried, those that none is better than in everything."""
    spent: Spending
    evaluated: int
    saved: int
    """Evaluations that were not needed, for the same workflow had been evaluated."""
    generations: int
    ended: str
    """Why, in a word: complete, stagnation, tool_calls, seconds."""


Evaluate = Callable[[Workflow], Awaitable[Fitness]]
Propose = Callable[[Tried], Awaitable[Proposal]]
Redesign = Callable[[Sequence[Tried]], Awaitable[Proposal]]
Progress = Callable[[str], None]
