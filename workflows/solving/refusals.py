"""What failed and is not tried again: a guessed argument of a tool, or a tool in the place of a step."""

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.solving.values import key

Refusal = tuple[str, str, str]
"""Tool, argument and value, as JSON; of a tool no argument, and what it was given."""
Refused = frozenset[Refusal]


def argument(tool: str, name: str, value: Any) -> Refusal:
    return tool, name, key(value)


def tool_in_place(tool: str, given: Sequence[Mapping[str, Any]]) -> Refusal:
    """What the drafts give it there stands for the place."""
    return tool, "", key(sorted(map(key, given)))
