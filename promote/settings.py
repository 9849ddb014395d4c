"""What a promoter and an ingress are told when they start. Validated here, once; nothing below reads a file or the
environment."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from containers.docker_options import DockerOptions
from promote.policy import Person

EdgeKind = Literal["embedded", "haproxy"]
BAKE_FLOOR_SECONDS = 10.0
BAKE_FLOOR_TURNS = 50
"""The least that any approval may ask for. Constants, not settings."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Timing(_Section):
    """Windows in seconds, all on the monotonic clock."""

    drain_seconds: float = Field(default=20.0, ge=0)
    """How long requests in flight may take before the old instance is asked to stop."""
    stop_grace: float = Field(default=20.0, ge=0)
    fence_seconds: float = Field(default=30.0, gt=0)
    boot_seconds: float = Field(default=30.0, gt=0)
    """How long an instance may take until it is ready."""
    turn_seconds: float = Field(default=30.0, gt=0)
    """How long one canary turn may take, and when a live turn counts as hung."""
    probe_passes: int = Field(default=3, ge=1)
    """Rounds of all canaries that must pass one after the other."""
    probe_interval: float = Field(default=0.1, ge=0)
    probe_window: float = Field(default=120.0, gt=0)
    """From the start of an instance to its last pass."""
    bake_limit_seconds: float = Field(default=3600.0, gt=0)
    """With fewer turns than approved by then, health was not shown: the image is rolled back."""

    @model_validator(mode="after")
    def _can_prove_health(self) -> "Timing":
        needed = self.boot_seconds + self.probe_interval * self.probe_passes
        if self.probe_window < needed:
            raise ValueError(
                f"probe_window {self.probe_window:g} s can't show health: boot_seconds + probe_interval x "
                f"probe_passes is {needed:g} s"
            )
        if self.bake_limit_seconds < BAKE_FLOOR_SECONDS:
            raise ValueError(f"bake_limit_seconds is under the shortest bake, {BAKE_FLOOR_SECONDS:g} s")
        return self


class Disk(_Section):
    """What must be free before a swap begins: `factor` times the state, plus `spare_bytes`."""

    factor: float = Field(default=2.2, ge=1)
    spare_bytes: int = Field(default=1 << 30, ge=0)


class LiveLimits(_Section):
    """What the live instance of the service may take of its machine; so a copy of it that is tried before a swap."""

    memory_mib: int = Field(default=1024, ge=64)
    """In Docker of the whole container, else of each process."""
    processes: int = Field(default=128, ge=8)
    """Processes and threads together."""
    open_files: int = Field(default=1024, ge=64)
    """Of each process."""
    file_mib: int = Field(default=8192, ge=1)
    """Of any one file: a log or a database grows with every turn, and a service that can't write fails them all."""


class Hook(_Section):
    """An operator's own check of a released image."""

    name: str = Field(min_length=1)
    """Told as the reason of a rollback."""
    argv: tuple[str, ...] = Field(min_length=1)
    """A command on the host, run again and again while an image bakes: any exit code but 0 rolls back. It finds the
    service at $EVOLVE_URL, and its image in $EVOLVE_IMAGE."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """Longer is a failure."""


class PromoterConfig(_Section):
    """What `--config` holds, as JSON."""

    home: Path
    """The promoter's own folder: ledger.db, state/, run/, bundles/, swaps/, logs/."""
    checkpoints: Path
    """Signed checkpoints of the ledger; better on another disk."""
    checkpoint_key: Path
    socket: Path
    """Where the CLI and the page ask."""
    edge: EdgeKind = "embedded"
    edge_control: Path
    """Where the edge's EdgeConfig puts it; so with `edge_state`."""
    edge_state: Path | None = None
    """HAProxy's only: the promoter writes gate and target there before it tells HAProxy."""
    inbox: Path | None = None
    """The ingress's database, where there is an ingress: what a rollback leaves behind is answered anew from it."""
    runtime: str = "auto"
    docker: DockerOptions | None = None
    runtime_home: Path
    """Where the engine keeps images and layers."""
    service: str = "agent"
    """Tells this installation's instances from another's on the same engine."""
    gateway_dir: Path | None = None
    """The folder of gateway.sock, shown to the live instance read-only."""
    environment: dict[str, str] = {}
    """MODEL_NAME, TOOL_SERVERS and the like, for the live instance."""
    people: tuple[Person, ...] = ()
    solo: bool = False
    accept_inconclusive: bool = False
    approvers_needed: int = Field(default=1, ge=1)
    """The least number of approvers; capabilities, state schemas and lossy rollbacks need two whatever stands here.
    These four (people, solo, accept_inconclusive, approvers_needed) are read anew before each judgement."""
    timing: Timing = Timing()
    disk: Disk = Disk()
    live: LiveLimits = LiveLimits()
    hooks: tuple[Hook, ...] = ()

    @model_validator(mode="after")
    def _has_edge_state(self) -> "PromoterConfig":
        if self.edge == "haproxy" and self.edge_state is None:
            raise ValueError("edge_state is needed with haproxy")
        return self

    @model_validator(mode="after")
    def _separate(self) -> "PromoterConfig":
        if self.checkpoints.resolve() == self.home.resolve():
            raise ValueError("checkpoints must lie in another folder than the ledger")
        return self


class IngressConfig(_Section):
    """What the ingress's `--config` holds, as JSON."""

    host: str
    port: int = Field(ge=1, le=65535)
    database: Path
    edge: EdgeKind
    edge_control: Path
    edge_state: Path
    turn_path: str
    """Where the service takes turns."""
    request_id_header: str
    session_header: str = "x-session"
    at_once: int = Field(default=16, ge=1)
    """Sessions that are answered side by side."""
    most: int = Field(default=10_000, ge=1)
    """Turns that may wait; beyond, 503 and Retry-After."""
    body_bytes: int = Field(default=64 << 10, ge=1)
    give_up_seconds: float = Field(default=86_400.0, gt=0)
    keep_seconds: float = Field(default=7 * 86_400.0, gt=0)
    """How long an answer can be fetched."""
