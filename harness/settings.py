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
    redact: Mapping[str, str] = field(default_factory=dict)
    """Name -> regular expression of what no answer may contain."""
    session_settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """What a session may set: name -> JSON Schema of the value, with a `description` for the model."""


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
        limits = table.pop("limits", {})
        return Policy(limits=Limits(**limits), tools=ToolPolicy(**tools), **table)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path.name}: {error}") from None


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
