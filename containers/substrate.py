"""`substrate.toml`: what a service tells us about itself so that it can be replayed, fenced, probed and
swapped."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE_NAME = "substrate.toml"


class ManifestError(ValueError):
    """`substrate.toml` is missing or wrong; the message is one line that names file, key and remedy."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StateSchema(_Table):
    """The state directory's format numbers: this tree can read every number in `reads` and writes
    `writes`."""

    reads: tuple[int, ...] = (1,)
    writes: int = 1


class Canary(_Table):
    """A scripted turn for the probe. `{nonce}` in any string is replaced by a fresh one; the reply must
    contain `expect`."""

    path: str = "/v1/chat/completions"
    body: dict[str, object]
    expect: str


class SubstrateManifest(_Table):
    """One service. Paths are relative to the repository's root; globs are gitignore patterns."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    source_root: str = "."
    """The folder whose lines may be blamed and edited."""
    lock_file: str | None = None
    """pip requirements with hashes: the dependency layer. None: standard library only."""
    command: tuple[str, ...]
    """The service. `python -m X` is run in the preloaded launcher. It listens on the unix socket named by
    $AGENT_SOCKET."""
    preload: tuple[str, ...] = ()
    """Modules of dependencies, never of the tree, that the launcher imports once before it forks."""
    liveness: str = "/healthz"
    readiness: str = "/readyz"
    inflight: str = "/inflight"
    drain_signal: str = "SIGTERM"
    request_id_header: str = "x-request-id"
    """The same id twice has one effect and the same answer."""
    turn_paths: tuple[str, ...] = ("/v1/chat/completions",)
    """POST paths that are turns; others are administration and never replayed."""
    feedback_path: str | None = None
    state_schema: StateSchema = StateSchema()
    migrate: tuple[str, ...] | None = None
    self_test: tuple[str, ...] | None = None
    """Run on a clone of the state, without network: exit 0 when this tree can read it."""
    event_log: str = "events.jsonl"
    """Inside the state directory."""
    editable: tuple[str, ...]
    protected: tuple[str, ...] = ("substrate.toml", "*.lock", "requirements*.txt", "tests/", ".*")
    checks: tuple[tuple[str, ...], ...] = ()
    """Commands run on a candidate's tree before any trial; each must exit 0."""
    canaries: tuple[Canary, ...] = ()
    delete_session: str | None = None
    """Path, with `{session}`, that deletes a probe's session (DELETE)."""


def load_manifest(root: Path) -> SubstrateManifest:
    """Read `root/substrate.toml`. Raises ManifestError."""
    path = root / FILE_NAME
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(
            f"{path}: not found; `evolve init` writes one, docs/substrate.md explains it"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not TOML: {error}") from None
    try:
        return SubstrateManifest.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{path}: {where}: {first['msg']}") from None
