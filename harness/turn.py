"""The values that travel through a turn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from harness.events import Recorder
from workflows.catalog import Catalog

Message = dict[str, Any]
"""One message in the OpenAI chat format."""


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A request as it was accepted. `messages` and `settings` are its checked parts; `body` is all of it."""

    request_id: str
    session: str
    path: str
    clock: float
    """Unix seconds; the only "now" of this turn."""
    body: dict[str, Any]
    messages: tuple[Message, ...]
    settings: dict[str, str] = field(default_factory=dict)
    passed: int = 0
    """How many events of its streamed reply the client has from an earlier connection."""

    @property
    def text(self) -> str:
        """What the user said last."""
        return next((str(m["content"]) for m in reversed(self.messages) if m["role"] == "user"), "")


class Reply(NamedTuple):
    status: int
    body: dict[str, Any]


@dataclass(slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def add(self, other: "Usage") -> None:
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens


@dataclass(slots=True)
class TurnContext:
    """What the hooks and parts of one turn share. It never outlives the turn."""

    request_id: str
    session: str
    clock: float
    log: Recorder
    settings: dict[str, str] = field(default_factory=dict)
    """The session's settings, this turn's changes included."""
    notes: tuple[str, ...] = ()
    """What the session was asked to remember before this turn."""
    spent_tokens: int = 0
    """By this session before this turn."""
    catalog: Catalog = field(default_factory=Catalog)
    usage: Usage = field(default_factory=Usage)
    questions: Iterator[int] = field(default_factory=count)
    """Numbers for those to the model."""


class AnswerForm(NamedTuple):
    """What an answer has to look like, where that matters."""

    schema: Mapping[str, object] | None
    """JSON Schema that the server is asked to hold it to."""
    max_tokens: int
    seed: int | None


class ModelRequest(NamedTuple):
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    form: AnswerForm | None = None
    model: str | None = None
    """None: the service's own."""


class ToolAsk(NamedTuple):
    """A tool call in the model's words."""

    call_id: str
    name: str
    arguments: str


class ModelReply(NamedTuple):
    content: str | None
    asks: tuple[ToolAsk, ...]
    finish_reason: str
    usage: Usage

    @property
    def message(self) -> Message:
        """As the conversation keeps it."""
        message: Message = {"role": "assistant", "content": self.content}
        if self.asks:
            message["tool_calls"] = [
                {"id": a.call_id, "type": "function", "function": {"name": a.name, "arguments": a.arguments}}
                for a in self.asks
            ]
        return message


class ToolCall(NamedTuple):
    """A tool call that can be made."""

    call_id: str
    server: str
    tool: str
    arguments: dict[str, Any]

    @property
    def key(self) -> str:
        return f"{self.server}/{self.tool}"


class ToolResult(NamedTuple):
    call_id: str
    server: str
    tool: str
    content: str
    """What the model is told."""
    is_error: bool = False
    value: Any = None
    """The content as data, where it is some."""
    ms: float = 0.0
    attempts: int = 1
    """0: the call never left."""
    uncertain: bool = False
    """It is not known whether the tool did anything: its answer never came."""

    @property
    def message(self) -> Message:
        return {"role": "tool", "tool_call_id": self.call_id, "content": self.content}
