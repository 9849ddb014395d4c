"""What a scripted model does, step by step. A conformance suite says it in these words; whoever drives a coder with it
turns each step into the tools that the coder offers."""

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "rate_limit", "server_error", "hang", "garbage", "cut", "overflow", "bad_key", "refusal", "dear"
]


@dataclass(frozen=True)
class Read:
    """Look at a file of the worktree."""

    file: str


@dataclass(frozen=True)
class Edit:
    """Replace `old`, which stands once in the file, by `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Run:
    """A command of the shell, in the worktree."""

    command: str


@dataclass(frozen=True)
class Say:
    """Text, and the end of the turn."""

    text: str


@dataclass(frozen=True)
class Fault:
    """The model misbehaves: for ever, or `times` times before it goes on with the next step.

    `cut` ends the stream within a tool call; `dear` is an answer that reports a great many tokens.
    """

    kind: FaultKind
    times: int | None = None


Step = Read | Edit | Run | Say | Fault
