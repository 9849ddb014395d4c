"""The seam to whoever edits the source: an external coding CLI, or our own `evolve-mend`.

A coder gets a single-commit export of the substrate, a task file and `evolve-check`; it runs in a sandbox without network
but the gateway. Its exit code and its words are kept for people and never believed: what counts is the tree it leaves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from containers.runtime import Mount, Runtime

ANSWER_FILE = "answer.json"

CodingOutcome = Literal[
    "edited",
    "no_change",
    "asked",
    "denied_edit",
    "refused",
    "rate_limited",
    "context_overflow",
    "not_signed_in",
    "out_of_budget",
    "timed_out",
    "failed",
]
"""`edited` means that the tree differs. All others mean that it does not, and say why: a question was asked, an edit was not
permitted, the model refused, its server limited the rate, the prompt did not fit, the key is wrong, a cap was reached."""


@dataclass(frozen=True)
class Version:
    """The coder can be used; `text` is what it says of itself, `warning` what an operator should know."""

    text: str
    warning: str = ""


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
    likely: tuple[str, ...] = ()
    """Files of the worktree to look at first."""
    seed: int = 0
    answers: bool = False
    """It is asked for `answer.json` in the worktree; whatever else it edits is thrown away."""
    resume: str = ""
    """Go on with this session of the same sandbox folder, where the coder can; the task file is written anew."""


@dataclass(frozen=True)
class CodingSandbox:
    """Where a coder runs: the engine, its scratch folder, and what it may see."""

    runtime: Runtime
    scratch: Path
    check_folder: Path
    """Holds `check.sock`, behind which `evolve-check` replays visible cases."""
    audit: Path
    """Where its gateway keeps the log of model calls and the meter."""
    tick: Callable[[], None] = lambda: None
    """Called several times a second while the coder runs; what it raises ends the call and is passed on."""
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class CodingBudget:
    """Hard limits of one call. None: no limit of its own."""

    seconds: float
    tokens: int | None = None
    usd_micros: int | None = None
    model_calls: int | None = None


@dataclass(frozen=True)
class CodingResult:
    """What came of it. `outcome` is judged by the tree; `transcript` and `text` are hostile, capped."""

    outcome: CodingOutcome
    exit_code: int | None
    tokens: int
    """As the gateway counted them; so is `usd_micros`."""
    usd_micros: int
    session: str
    """What `CodingTask.resume` takes; empty where the coder has no sessions."""
    transcript: str
    text: str = ""
    """The coder's last words."""
    reason: str = ""
    """Why it ended like that, where more is known than the outcome says."""


class CodingCli(Protocol):
    """One coder."""

    @property
    def name(self) -> str: ...

    @property
    def resumes(self) -> bool:
        """Whether `CodingTask.resume` means anything to it."""

    def probe(self) -> Version | Missing: ...

    def run(
        self, task: CodingTask, worktree: Path, *, sandbox: CodingSandbox, budget: CodingBudget
    ) -> CodingResult:
        """Let the coder edit `worktree` in place. Raises RuntimeBroken when the sandbox or the gateway failed, and what
        `sandbox.tick` raises."""
