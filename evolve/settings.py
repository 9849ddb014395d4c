"""What is in force: `evolve.toml` in `$EVOLVE_HOME`, overridden by `EVOLVE_*` (nested with `__`), unknown keys refused."""

import base64
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from containers.docker_options import DockerOptions
from evidence.split import SealPolicy
from evolve.errors import BadInput
from evolve.webhooks.address import is_public, literal
from promote.settings import Hook, LiveLimits
from promote.wire import complaint
from trial.graders.config import GraderConfig
from trial.measure import VerdictPolicy

FILE_NAME = "evolve.toml"
LARGEST_HASH_KIB = 1024 * 1024
PHC = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>\d{1,9}),t=\d{1,3},p=\d{1,3}\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,128}"
)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Listen(Section):
    host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    """Loopback only; a reverse proxy with TLS stands in front of anything public."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0


class EdgeSection(Listen):
    kind: Literal["embedded", "haproxy"] = "embedded"
    """`embedded`: our own relay. `haproxy`: the system's HAProxy, for production."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8710
    """Where users' requests arrive."""


class InboxSection(Listen):
    port: Annotated[int, Field(ge=1, le=65535)] | None = None  # type: ignore[assignment]
    """Where turns are accepted for later (`POST /v1/inbox`), whatever becomes of the service meanwhile; not set: nowhere."""


class WebSection(Listen):
    port: Annotated[int, Field(ge=0, le=65535)] = 8711
    """Where the approval page is served."""


class Endpoint(Section):
    """A model that is asked somewhere, and what that costs."""

    base_url: str = ""
    """The model's endpoint, without `/v1`, in the wire format that is spoken to it; empty: no live model."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key; only the gateway reads it."""
    usd_micros_per_million_input: Annotated[int, Field(ge=0)] | None = None
    """Price of a million input tokens in micro-USD; 0: it costs nothing, not set: unknown, and no run may ask it."""
    usd_micros_per_million_output: Annotated[int, Field(ge=0)] | None = None
    """Price of a million output tokens in micro-USD; 0: it costs nothing, not set: unknown, and no run may ask it."""


class ModelSection(Endpoint):
    name: str = "default"
    """The model name that the service asks for."""
    api_key_file: str = ""
    """File that holds the key, relative to `$EVOLVE_HOME`; it goes before `api_key_env`."""


class ToolServer(Section):
    command: str
    """Program of the MCP server, started as a child of the gateway."""
    args: tuple[str, ...] = ()
    """Its arguments."""
    env: dict[str, SecretStr] = Field(default_factory=dict)
    """Its environment beyond PATH and HOME; values are secrets."""
    cwd: str | None = None
    """Its working directory."""


class RuleSection(Section):
    name: str
    """Shown as the signal's name."""
    file: str
    """Python file, relative to `$EVOLVE_HOME`."""
    function: str
    """`def rule(turn: dict) -> str | None`: the reason when the turn violates it."""


class BatchSection(Section):
    min_visible: Annotated[int, Field(ge=1)] = 8
    """Distinct visible cases before a batch seals by itself."""
    min_held_out: Annotated[int, Field(ge=1)] = 12
    """Distinct held-out cases before a batch seals by itself."""
    min_regression: Annotated[int, Field(ge=1)] = 100
    """Regression cases on offer before a batch seals by itself."""
    max_visible: Annotated[int, Field(ge=1)] = 12
    """Visible cases are capped here; the rest of the failures are held out."""
    max_held_out: Annotated[int, Field(ge=1)] = 40
    """Held-out cases are capped here."""
    max_regression: Annotated[int, Field(ge=1)] = 120
    """Regression cases are capped here."""
    prelude_replays: Annotated[int, Field(ge=1)] = 24
    """Replays that the minimisation of one case's prelude may cost."""
    on_tool_miss: Literal["fail", "nearest", "live"] = "fail"
    """What a replay does with a tool call that was not recorded; `live` asks the real tool, so only for tools that
    change nothing that matters."""

    @property
    def seal_policy(self) -> SealPolicy:
        own = (
            "min_visible",
            "min_held_out",
            "min_regression",
            "max_visible",
            "max_held_out",
            "max_regression",
        )
        return SealPolicy(**{name: getattr(self, name) for name in own}, on_tool_miss=self.on_tool_miss)


Depth = Literal["light", "standard", "deep"]
DEPTHS: dict[Depth, dict[str, int | float]] = {
    "light": {
        "iterations": 3,
        "candidates": 1,
        "plan_rounds": 1,
        "code_rounds": 1,
        "max_trials": 20_000,
        "max_usd": 5.0,
        "max_minutes": 60.0,
    },
    "standard": {
        "iterations": 4,
        "candidates": 3,
        "plan_rounds": 2,
        "code_rounds": 2,
        "max_trials": 60_000,
        "max_usd": 20.0,
        "max_minutes": 180.0,
    },
    "deep": {
        "iterations": 8,
        "candidates": 5,
        "plan_rounds": 3,
        "code_rounds": 3,
        "max_trials": 200_000,
        "max_usd": 60.0,
        "max_minutes": 600.0,
    },
}
"""What each depth of a run stands for; every value can be set by itself, too."""


WORKFLOWS = "workflows"
"""The coder that improves shipped workflows."""


class RunSection(Section):
    depth: Depth = "light"
    """How far a run goes: the default of `iterations`, `candidates`, both `rounds` and the limits below."""
    coder: str = "mend"
    """Who proposes: `mend`, or a name under [coders]; several names with commas take turns."""
    model: str = ""
    """The model that these ask for, in place of their own."""
    planner: str = ""
    """Who plans before they edit, a name under [coders]; empty: they get the evidence and no plan."""
    reviewer: str = ""
    """Who argues against each plan and each change, a name under [coders]; empty: only the deterministic reviews."""
    judge: str = ""
    """Who scores replies blind, a name under [coders]; empty: nobody. It orders equals and warns; no verdict asks it."""
    judge_cases: Annotated[int, Field(ge=1)] = 20
    """Cases, confirmed by graders, on which a judge must have been seen before it counts."""
    judge_agreement: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    """How often it must agree with the graders on these, at least: a lower 95 % bound."""
    iterations: Annotated[int, Field(ge=1, le=20)] = 3
    """Passes of the pipeline before a run ends as `needs_work`."""
    candidates: Annotated[int, Field(ge=1, le=16)] = 1
    """Proposals of one pass."""
    plan_rounds: Annotated[int, Field(ge=1, le=8)] = 1
    """Plans that a proposal may hand in before its review gives it up."""
    code_rounds: Annotated[int, Field(ge=1, le=8)] = 1
    """Changes that a proposal may hand in before its review gives it up."""
    workflows: Literal["off", "same_tools", "any_tool"] = "same_tools"
    """Whether better versions of shipped workflows are proposed, too, where failing turns ran one: with the tools that each
    calls or declares already, or with any."""
    stop_at_limit: bool = True
    """End as `limit_model` before a coder is paid when every failing visible case is shown to be the model's."""
    max_usd: Annotated[float, Field(ge=0)] = 5.0
    """Money that a run may spend on models."""
    max_tokens: Annotated[int, Field(ge=0)] = 2_000_000
    """Tokens that a run may spend."""
    max_minutes: Annotated[float, Field(gt=0)] = 60.0
    """Wall time of a run."""
    max_trials: Annotated[int, Field(ge=1)] = 20_000
    """Replays that a run may cost, those of `evolve-check` included."""
    coder_seconds: Annotated[float, Field(gt=0)] = 120.0
    """Wall time of one call of a coder."""
    workers: Annotated[int, Field(ge=1, le=64)] = min(4, (os.cpu_count() or 2) + 1)
    """Replays at a time; some wait for recorded latencies while others run."""

    @property
    def coders(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.coder.split(","))

    @property
    def max_micro_usd(self) -> int:
        return round(self.max_usd * 1e6)

    @property
    def everybody(self) -> tuple[str, ...]:
        """Coders in any role."""
        more = () if self.workflows == "off" else (WORKFLOWS,)
        names = (*self.coders, self.planner, self.reviewer, self.judge, *more)
        return tuple(dict.fromkeys(name for name in names if name))

    @model_validator(mode="before")
    @classmethod
    def _fill_in_by_depth(cls, given: Any) -> Any:
        depth = given.get("depth", "light") if isinstance(given, dict) else None
        return {**DEPTHS[depth], **given} if depth in DEPTHS else given


class CoderSection(Endpoint):
    kind: Literal[
        "command", "claude_code", "codex", "opencode", "aider", "mini_swe_agent", "gemini_cli", "qwen_code"
    ] = "command"
    """`command`: what `argv` says. Any other: that coding CLI, which docs/coders.md tells how to set up."""
    argv: tuple[str, ...] = ()
    """The command; `{task}` is replaced by the path of the task file, `{repo}` by that of the worktree."""
    program: str = ""
    """Where the CLI is; empty: on PATH under its own name."""
    model: str = ""
    """The model that a CLI asks for."""
    api_key_file: Path | None = None
    """File that holds the key, in place of a variable."""
    max_output_tokens: Annotated[int, Field(gt=0)] = 16_384
    """Reserved for, and imposed on, requests that name no limit of their own."""
    max_model_calls: Annotated[int, Field(ge=1)] = 500
    """Model calls of one call of the coder."""
    max_turns: Annotated[int, Field(ge=1)] = 100
    """Turns after which a CLI that can count them ends."""
    patience_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a coder may go on asking a model that answers with errors alone."""
    env: dict[str, SecretStr] = Field(default_factory=dict)
    """Its environment; nothing of the operator's is passed on. Values are secrets."""
    mounts: tuple[str, ...] = ()
    """Host folders shown to it, read-only, at the same path."""

    @model_validator(mode="after")
    def _complete(self) -> "CoderSection":
        if self.kind == "command" and not self.argv:
            raise ValueError("argv: a coder is a command, or names a CLI in `kind`")
        lacking = [name for name in ("model", "base_url") if not getattr(self, name)]
        if self.kind != "command" and lacking:
            raise ValueError(f"{lacking[0]}: kind {self.kind!r} needs it")
        return self


class GuardSection(Section):
    max_files: Annotated[int, Field(ge=1)] = 12
    """Files that one candidate may change."""
    max_lines: Annotated[int, Field(ge=1)] = 400
    """Lines that one candidate may add and remove together."""
    max_file_bytes: Annotated[int, Field(ge=1)] = 512 * 1024
    """Size of any file that it touches."""
    protected: tuple[str, ...] = ()
    """Further globs, beside the substrate's, that no candidate may touch."""


class SwapSection(Section):
    bake_seconds: Annotated[float, Field(ge=10)] = 600.0
    """Watched time after a swap, before it is final."""
    bake_turns: Annotated[int, Field(ge=50)] = 50
    """Live turns that a bake must have seen."""
    disk_reserve_bytes: Annotated[int, Field(ge=0)] = 1 << 30
    """Free space that a swap leaves untouched."""
    hooks: tuple[Hook, ...] = ()
    """Your own checks of an image that bakes; each must pass, again and again, or the image is rolled back."""


WebhookEvent = Literal[
    "batch.ready", "candidate.ready", "swap.committed", "swap.rolled_back", "swap.quarantined"
]


class WebhookSection(Section):
    url: str
    """Where to POST, `http` or `https`."""
    secret: SecretStr
    """Signs every message: `whsec_` and base64 of 24 to 64 random bytes."""
    events: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
    """What it is told of."""
    allow_private: bool = False
    """Whether the address may be on this machine or in a private network."""

    @property
    def key(self) -> bytes:
        return base64.b64decode(self.secret.get_secret_value().removeprefix("whsec_"))

    @field_validator("secret")
    @classmethod
    def _secret_is_long(cls, value: SecretStr) -> SecretStr:
        prefix, _, text = value.get_secret_value().partition("_")
        try:
            long_enough = 24 <= len(base64.b64decode(text, validate=True)) <= 64
        except ValueError:
            long_enough = False
        if prefix != "whsec" or not long_enough:
            raise ValueError("not `whsec_` and base64 of 24 to 64 bytes")
        return value

    @model_validator(mode="after")
    def _address_is_public(self) -> "WebhookSection":
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
            raise ValueError("url: not http://HOST… or https://HOST…")
        address = literal(host)
        if not self.allow_private and (host == "localhost" or (address and not is_public(address))):
            raise ValueError(f"url: {host} is not public; `allow_private = true` permits it")
        return self


class Person(Section):
    public_key: str
    """Base64 of the raw Ed25519 public key; `evolve people add` writes it."""
    roles: tuple[Literal["viewer", "operator", "approver", "admin"], ...] = ("viewer",)
    """What the person may do."""
    sign_in: SecretStr = SecretStr("")
    """Argon2id hash (PHC) of the passphrase, for signing in at the page; `evolve people add` and `hash` write it."""

    @field_validator("sign_in")
    @classmethod
    def _is_a_hash(cls, value: SecretStr) -> SecretStr:
        found = PHC.fullmatch(text := value.get_secret_value())
        if text and (found is None or int(found["memory"]) > LARGEST_HASH_KIB):
            raise ValueError("not an Argon2id hash; `evolve people hash NAME` writes one")
        return value


class ConsentSection(Section):
    policy: Literal["separate", "solo"] = "separate"
    """`separate`: requester and approver differ. `solo`: one person may be both, which approval and ledger show."""
    approvers_needed: Annotated[int, Field(ge=1)] = 1
    """Different people who must sign; two in any case for more capabilities, another state schema or a lossy rollback."""
    people: dict[str, Person] = Field(default_factory=dict)
    """Who may do what."""


class Settings(BaseSettings):
    """Everything that an operator can set. `home` comes from `$EVOLVE_HOME`, else `./.evolve`."""

    model_config = SettingsConfigDict(
        env_prefix="EVOLVE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    home: Path
    """Where the product keeps everything."""
    runtime: Literal["auto", "docker", "bubblewrap"] = "auto"
    """The engine that isolates candidates and the live agent."""
    docker: DockerOptions | None = None
    """The Docker Engine; where it is set, `runtime = "auto"` means docker."""
    database_url: SecretStr = SecretStr("")
    """SQLAlchemy URL; empty: SQLite under home."""
    redis_url: SecretStr = SecretStr("")
    """Queue of detached runs; empty: an embedded Valkey, started and stopped with the product."""
    edge: EdgeSection = EdgeSection()
    inbox: InboxSection = InboxSection()
    web: WebSection = WebSection()
    model: ModelSection = ModelSection()
    tools: dict[str, ToolServer] = Field(default_factory=dict)
    """MCP servers by name, in the usual form of command, args and env."""
    rules: tuple[RuleSection, ...] = ()
    graders: tuple[GraderConfig, ...] = ()
    batch: BatchSection = BatchSection()
    run: RunSection = RunSection()
    verdict: VerdictPolicy = VerdictPolicy()
    coders: dict[str, CoderSection] = Field(default_factory=dict)
    """External coders by name: coding CLIs and other commands."""
    guard: GuardSection = GuardSection()
    live: LiveLimits = LiveLimits()
    swap: SwapSection = SwapSection()
    consent: ConsentSection = ConsentSection()
    webhooks: tuple[WebhookSection, ...] = ()

    @field_validator("webhooks")
    @classmethod
    def _addresses_differ(cls, value: tuple[WebhookSection, ...]) -> tuple[WebhookSection, ...]:
        if len({hook.url for hook in value}) < len(value):
            raise ValueError("two of them have the same url")
        return value

    @property
    def sql_url(self) -> str:
        return self.database_url.get_secret_value() or f"sqlite:///{self.home / 'evolve.db'}"

    @property
    def substrate_repository(self) -> Path:
        return self.home / "substrate"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def home_directory() -> Path:
    """`$EVOLVE_HOME`, else `.evolve` in the current folder; always absolute."""
    return Path(os.environ.get("EVOLVE_HOME") or ".evolve").absolute()


def load_settings(home: Path | None = None) -> Settings:
    """Read what is in force. Raises BadInput with the path of the first wrong key."""
    home = home or home_directory()
    path = home / FILE_NAME
    table: dict[str, Any] = {}
    if path.exists():
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: not TOML: {error}") from None
    try:
        return Settings(**{**table, "home": home})
    except ValidationError as error:
        raise BadInput(f"{path}: {complaint(error)}", hint="docs/configuration.md lists every key") from None
    except SettingsError as error:
        raise BadInput(f"an EVOLVE_* variable: {error}", hint="tables and lists are given as JSON") from None
