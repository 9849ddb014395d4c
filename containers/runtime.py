"""The seam between the product and whatever isolates code that nobody trusts.

Two engines stand behind `Runtime`: `containers.bubblewrap` (embedded default) and, in production, a Docker
Engine. Both pass `containers.conformance`. Everything above this module knows image digests and instances,
never engines.

Errors
  RuntimeBroken        the engine or the machine failed; the work is `invalid`, never scored
  ├─ EngineUnavailable the engine is missing or forbidden here; the message says the way out
  └─ ImageMissing      no image has this digest, or its bytes no longer match it
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, Protocol

from containers.substrate import SubstrateManifest

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Role = Literal["live", "shadow", "trial", "coder", "grader"]


class RuntimeBroken(Exception):
    """The arena failed, not the code in it."""


class EngineUnavailable(RuntimeBroken):
    """The engine can't be used on this machine; the message names the way out."""


class ImageMissing(RuntimeBroken):
    """No image has this digest, or its stored bytes no longer hash to it."""


@dataclass(frozen=True)
class ImageRef:
    """An image by its content: `digest` is `sha256:<64 hex>` over the manifest of everything that runs."""

    digest: str


@dataclass(frozen=True)
class Mount:
    """A host path shown inside the sandbox. Read-only unless said otherwise."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Limits:
    """Per-instance limits. `evolve doctor` says which of them bite on this machine."""

    processes: int = 128
    memory_bytes: int | None = 1 << 30
    cpu_seconds: int | None = None
    file_bytes: int = 256 << 20
    open_files: int = 1024
    wall_seconds: float | None = None


@dataclass(frozen=True)
class InstanceSpec:
    """What to run, and what it may see. Nothing that is not named here exists inside.

    `argv` is executed by the fixed shim (PID 1). The image's tree is at `/app`, its dependency layer at
    `/deps`, both read-only; `/tmp` is a private tmpfs.
    """

    name: str
    role: Role
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    workdir: str = "/app"
    host_tools: bool = False
    """Also show the host's /usr (read-only): for coding CLIs and shell graders, never for a service."""
    survives_caller: bool = False
    """True for `live`: the instance outlives the process that started it. Everything else dies with it."""
    forwards: Mapping[int, str] = field(default_factory=dict)
    """Loopback port inside -> path inside of the unix socket that it leads to. Not for a service or the launcher."""
    interactive: bool = False
    """True: standard input and output are pipes to the caller (the trial launcher's control channel)."""


@dataclass(frozen=True)
class InstanceStatus:
    """What the engine observes, never what anyone remembers."""

    running: bool
    exit_code: int | None
    digest: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Capabilities:
    """What an engine can promise on this machine, for `evolve doctor` and for reports."""

    engine: str
    identity: str
    """Who runs inside, and what that separates."""
    processes: str
    memory: str
    memory_coders: str
    """The same for coding CLIs and shell graders (`host_tools`), where a per-process limit would break
    Node."""
    cpu: str
    files: str
    disk: str
    """Total space in writable mounts."""
    cgroups: tuple[str, ...]


class Instance(Protocol):
    """A started sandbox. `stdin`/`stdout` are None unless the spec was interactive."""

    name: str
    digest: str
    labels: Mapping[str, str]
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def status(self) -> InstanceStatus: ...

    def wait(self, timeout: float) -> int | None:
        """The exit code, or None when it still runs after `timeout` seconds."""


def check_adoption(running: str, digest: str, spec: InstanceSpec) -> None:
    """May a caller take over what already runs under this name, from the image `running`? Raises RuntimeBroken."""
    if running != digest:
        raise RuntimeBroken(f"{spec.name} already runs another image ({running})")
    if spec.interactive:
        raise RuntimeBroken(f"{spec.name} already runs, and its pipes belong to the process that started it")


def readable(log: bytes) -> str:
    """What instances wrote, without control characters."""
    return _CONTROL.sub("", log.decode("utf-8", "replace").replace("\r\n", "\n"))


class Runtime(Protocol):
    """An engine. Every call has a deadline; what it did is observed, not assumed."""

    name: str
    home: Path
    """Where images, layers and records are kept on this machine."""

    @property
    def capabilities(self) -> Capabilities: ...

    def build(
        self, tree: Path, manifest: SubstrateManifest, labels: Mapping[str, str] | None = None
    ) -> ImageRef:
        """Freeze `tree` (a plain directory, already judged by the guard) and its dependency layer into an
        image.

        `labels` say where it comes from (`commit`, `run`, `batch`), for people who look at the engine's images; nothing
        decides by them and nothing inside sees them. The same bytes with the same labels give the same digest.
        Raises RuntimeBroken; leaves nothing half-built.
        """

    def start(self, image: ImageRef | None, spec: InstanceSpec) -> Instance:
        """Start by digest (None: a bare sandbox, for coding CLIs and graders). A running instance of the same
        name and digest is adopted, never doubled. Raises ImageMissing, RuntimeBroken."""

    def find(self, labels: Mapping[str, str]) -> list[Instance]:
        """Every instance, running or dead but not yet removed, that carries all these labels."""

    def orphans(self) -> list[Instance]:
        """Every instance whose starter is gone and that was not meant to survive it."""

    def stop(self, instance: Instance, grace: float) -> None:
        """SIGTERM to PID 1's child, SIGKILL to all after `grace` seconds; returns when every process is
        gone."""

    def kill(self, instance: Instance) -> None:
        """SIGKILL to everything; returns when every process is gone. Idempotent."""

    def remove(self, instance: Instance) -> None:
        """Forget a stopped instance and its logs. Idempotent."""

    def logs(self, instance: Instance, tail_bytes: int = 65536) -> str:
        """The end of stdout and stderr, control characters removed; also after death."""

    def stats(self, instance: Instance) -> Mapping[str, int]:
        """`processes`, `memory_bytes`, `cpu_millis` of everything inside."""

    def export(self, image: ImageRef, target: Path, *, bytecode: bool = False) -> None:
        """Write the image's tree into the empty directory `target`; with what was compiled at its build if asked."""

    def keep(self, images: Collection[ImageRef], owner: str) -> None:
        """Whoever tidies the engine leaves exactly these images of `owner`, though nothing runs from them. Images that are
        gone already are left out. Idempotent."""
