"""What a gateway is told when it starts. The file is written by the control plane; unknown keys are
errors."""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]


class ConfigError(ValueError):
    """The configuration can't be used; the message is one line that names file, key and remedy."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Table):
    """Micro-USD per million tokens."""

    input: Annotated[int, Field(ge=0)]
    output: Annotated[int, Field(ge=0)]


class Upstream(_Table):
    """Where model calls go, with whose key, at which price."""

    base_url: str
    """With or without a trailing `/v1`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    api_key_file: Path | None = None
    """File that holds the key; read at start."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds without a byte from the upstream until the call counts as failed."""
    prices: dict[str, Price] = Field(default_factory=dict)
    """By model name; `*` is for every other model."""
    max_output_tokens: Annotated[int, Field(gt=0)] = 4096
    """Reserved for, and under a cap also imposed on, requests that name no limit of their own."""

    def api_key(self) -> str | None:
        """The key, from file or environment. Raises ConfigError when one is named but not there."""
        if self.api_key_file is not None:
            try:
                return self.api_key_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"upstream.api_key_file: {error}") from None
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env)
            if not key:
                raise ConfigError(f"upstream.api_key_env: {self.api_key_env} is not set")
            return key
        return None


class Caps(_Table):
    """Hard limits over the life of the meter file. None: unlimited."""

    micro_usd: Annotated[int, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    """Model and tool calls together."""


class ToolServer(_Table):
    """One MCP server that speaks stdio. It sees `env` and nothing else of ours."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    env: dict[str, str] = Field(default_factory=dict)
    cwd: Path | None = None
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds per call, and for start and handshake together."""


class GatewayConfig(_Table):
    """One gateway process."""

    socket: Path
    """Unix socket to listen on; its folder decides who may connect."""
    mode: Literal["record", "replay", "live"] = "record"
    log: Path | None = None
    """`record`: the append-only log of calls."""
    case: Path | None = None
    """`replay`: a JSON file with one case."""
    upstream: Upstream | None = None
    servers: dict[ServerName, ToolServer] = Field(default_factory=dict)
    caps: Caps = Caps()
    meter: Path | None = None
    """Where spending survives a restart; required as soon as a cap is set."""
    max_body: Annotated[int, Field(gt=0)] = 10 << 20
    """Bytes of one request, one answer and one MCP message."""
    record_wait: Annotated[float, Field(gt=0)] = 2.0
    """Seconds that a finished call may wait for the disk before new calls are refused."""

    @model_validator(mode="after")
    def _complete(self) -> "GatewayConfig":
        if self.mode == "record" and self.log is None:
            raise ValueError("mode record needs `log`")
        if self.mode == "replay" and self.case is None:
            raise ValueError("mode replay needs `case`")
        if self.caps != Caps() and self.meter is None:
            raise ValueError("caps need `meter`, else a restart would forget what was spent")
        return self


def load_config(path: Path) -> GatewayConfig:
    """Read a JSON or (by suffix) TOML file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        return GatewayConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "gateway"
        raise ConfigError(f"{path}: {where}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
