"""The seam to whoever edits the source: an external coding CLI, or our own `evolve-mend`.

A coder gets a single-commit export of the substrate, a task file and `evolve-check`; it runs in a sandbox without network
but the gateway. Its exit code and its words are kept for people and never believed: what counts is the tree it leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from containers.runtime import Mount, Runtime

CodingOutcome = Literal["edited", "no_change", "timed_out", "failed"]


@dataclass(frozen=True)
class Version:
    """The coder can be used; `text` is what it says of itself."""

    text: str


@dataclass(frozen=True)
class Missing:
    """The coder can't be used; `reason` says what to do."""

    reason: str


@dataclass(frozen=True)
class CodingTask:
    """What a coder is told. `text` is written to the task file; evidence lies beside it as quoted files."""

    text: str
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files beside the task file: name -> content (cases, suspects)."""
    seed: int = 0


@dataclass(frozen=True)
class CodingSandbox:
    """Where a coder runs: the engine, its scratch folder, and the sockets that it may see."""

    runtime: Runtime
    scratch: Path
    check_folder: Path
    """Holds `check.sock`, behind which `evolve-check` replays visible cases."""
    gateway_folder: Path | None
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class CodingBudget:
    """Hard limits of one call."""

    seconds: float
    tokens: int = 0
    usd_micros: int = 0


@dataclass(frozen=True)
class CodingResult:
    """What came of it. `outcome` is judged by the tree; `transcript` is hostile text, capped."""

    outcome: CodingOutcome
    exit_code: int | None
    tokens: int
    usd_micros: int
    session: str
    transcript: str


class CodingCli(Protocol):
    """One coder."""

    @property
    def name(self) -> str: ...

    def probe(self) -> Version | Missing: ...

    def run(
        self, task: CodingTask, worktree: Path, *, sandbox: CodingSandbox, budget: CodingBudget
    ) -> CodingResult:
        """Let the coder edit `worktree` in place. Raises RuntimeBroken when the sandbox failed, nothing else."""
