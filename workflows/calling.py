"""How the engine reaches tools and models: one small protocol, which wrappers in `callers` refine."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class ToolRequest(NamedTuple):
    node: str
    place: str
    """Where in the step the call stands: empty for a tool step's own, `each.3` in a map, `policy.recovery`."""
    attempt: int
    tool: str
    """`server/tool`"""
    arguments: dict[str, object]


class ModelRequest(NamedTuple):
    node: str
    place: str
    attempt: int
    prompt: str
    answer: Mapping[str, object] | None
    """JSON Schema of the answer; None: text."""
    model: str | None
    max_tokens: int


class Outcome(NamedTuple):
    """What one call came to; `error` is None when it worked."""

    value: object
    error: str | None = None
    uncertain: bool = False
    """It is not known whether the call did anything: the answer never came."""


class Caller(Protocol):
    async def tool(self, request: ToolRequest) -> Outcome: ...

    async def model(self, request: ModelRequest) -> Outcome: ...

    def repeatable(self, tool: str) -> bool:
        """Calling it twice does no more than calling it once, so that an uncertain call may be tried again."""
        ...
