"""Ordered hooks before and after each turn, model call and tool call.

A hook looks at a value and decides: allow it, change it, or deny it. Every decision is recorded. What is
denied before it happens does not happen.
"""

from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

from harness.turn import ModelReply, ModelRequest, ToolCall, ToolResult, TurnContext, TurnRequest

T = TypeVar("T")
Point = Literal["turn", "model", "tool"]
Phase = Literal["before", "after"]


class Denied(Exception):
    """A hook said no. `reason` is a sentence that the caller may see."""

    def __init__(self, hook: str, reason: str) -> None:
        super().__init__(f"{hook}: {reason}")
        self.hook, self.reason = hook, reason


class Allow:
    """As it is."""


class Change(NamedTuple, Generic[T]):
    value: T
    reason: str


class Deny(NamedTuple):
    reason: str


Decision = Allow | Change[T] | Deny
ALLOW = Allow()


class Hook(NamedTuple, Generic[T]):
    name: str
    decide: Callable[[TurnContext, T], Decision[T]]


class Chain(NamedTuple, Generic[T]):
    """The hooks of one point and phase, in the order in which they are asked."""

    point: Point
    phase: Phase
    hooks: tuple[Hook[T], ...] = ()

    def apply(self, context: TurnContext, value: T, call_id: str | None = None) -> T:
        """The value that all hooks let through; each sees what the one before made of it. Raises Denied."""
        for hook in self.hooks:
            decision = hook.decide(context, value)
            self._record(context, hook.name, decision, call_id)
            if isinstance(decision, Deny):
                raise Denied(hook.name, decision.reason)
            if isinstance(decision, Change):
                value = decision.value
        return value

    def _record(self, context: TurnContext, name: str, decision: Decision[T], call_id: str | None) -> None:
        fields: dict[str, object] = {"decision": type(decision).__name__.lower()}
        if call_id is not None:
            fields["call_id"] = call_id
        if not isinstance(decision, Allow):
            fields["reason"] = decision.reason
        context.log.emit("hook", name=name, point=self.point, phase=self.phase, **fields)


class Hooks(NamedTuple):
    before_turn: Chain[TurnRequest] = Chain("turn", "before")
    after_turn: Chain[str] = Chain("turn", "after")
    before_model: Chain[ModelRequest] = Chain("model", "before")
    after_model: Chain[ModelReply] = Chain("model", "after")
    before_tool: Chain[ToolCall] = Chain("tool", "before")
    after_tool: Chain[ToolResult] = Chain("tool", "after")
