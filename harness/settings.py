"""What the service is told at its start: its environment, and the operator's `policy.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

POLICY_FILE = Path(__file__).parent / "policy.json"


class SettingsError(ValueError):
    """The environment or the policy is wrong; the message is one line."""


class Settings(NamedTuple):
    """The environment, which is the same in production and in a replay."""

    agent_socket: str
    state_dir: Path
    gateway_socket: str | None = None
    """None: the service starts, and every model call fails."""
    tool_servers: tuple[str, ...] = ()
    model: str = "default"
    epoch: int = 0
    digest: str = ""
    boot_nonce: str = ""


class Limits(NamedTuple):
    turn_seconds: float = 50.0
    rounds: int = 8
    """Model calls in one turn."""
    parallel_tools: int = 8
    input_chars: int = 20_000
    result_chars: int = 20_000
    reply_chars: int = 20_000
    session_tokens: int = 2_000_000
    history_turns: int = 20


class Planning(NamedTuple):
    """Whether a turn that no shipped workflow fits is planned before the model is asked, and what that may cost."""

    on: bool = False
    """Where the session does not say otherwise (`/set planning=on`)."""
    drafts: int = 8
    """Questions to the planner in one turn."""
    tokens: int = 10_000
    """Of all drafts; what they come to is run when it is reached."""
    tool_calls: int = 30
    runs: int = 4
    """Of plans, where one that failed has changed nothing."""
    doubted_writes: bool = False
    """Whether a plan that changes something is run although there are doubts about it."""
    seconds: float = 25.0
    """No draft is waited for longer; what there is, is run."""


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """Patterns are shell globs over `server/tool`."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    """Wins over `allow`."""
    bounds: Mapping[str, Mapping[str, Mapping[str, object]]] = field(default_factory=dict)
    """Pattern -> argument -> JSON Schema that its value must meet."""
    idempotent: tuple[str, ...] = ()
    """May be tried again when the way to the tool failed; a server can also say so itself."""
    retries: int = 1
    timeout_seconds: float = 20.0
    timeouts: Mapping[str, float] = field(default_factory=dict)

    def timeout(self, tool: str) -> float:
        """The first pattern that fits decides."""
        return next(
            (s for pattern, s in self.timeouts.items() if fnmatchcase(tool, pattern)), self.timeout_seconds
        )

    def is_idempotent(self, tool: str) -> bool:
        return matches(tool, self.idempotent)


@dataclass(frozen=True, slots=True)
class Policy:
    limits: Limits = field(default_factory=Limits)
    tools: ToolPolicy = field(default_factory=ToolPolicy)
    planning: Planning = field(default_factory=Planning)
    redact: Mapping[str, str] = field(default_factory=dict)
    """Name -> regular expression of what no answer may contain."""
    session_settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """What a session may set: name -> JSON Schema of the value. The model is told of one that has a `description`; one
    without is for the service alone."""


def matches(tool: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


def read_environment(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    for name in ("AGENT_SOCKET", "STATE_DIR"):
        if not env.get(name):
            raise SettingsError(f"{name} is not set")
    epoch = env.get("INSTANCE_EPOCH") or "0"
    if not epoch.isdecimal():
        raise SettingsError(f"INSTANCE_EPOCH is not a number: {epoch!r}")
    servers = (name.strip() for name in env.get("TOOL_SERVERS", "").split(","))
    return Settings(
        agent_socket=env["AGENT_SOCKET"],
        state_dir=Path(env["STATE_DIR"]),
        gateway_socket=env.get("GATEWAY_SOCKET") or None,
        tool_servers=tuple(sorted({name for name in servers if name})),
        model=env.get("MODEL_NAME") or "default",
        epoch=int(epoch),
        digest=env.get("IMAGE_DIGEST", ""),
        boot_nonce=env.get("BOOT_NONCE", ""),
    )


def read_policy(path: Path = POLICY_FILE) -> Policy:
    """Raises SettingsError, also on a key that means nothing: a misspelt limit must not be no limit."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        tools = {key: _frozen(value) for key, value in table.pop("tools", {}).items()}
        limits, planning = table.pop("limits", {}), table.pop("planning", {})
        return Policy(Limits(**limits), ToolPolicy(**tools), Planning(**planning), **table)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path.name}: {error}") from None


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
