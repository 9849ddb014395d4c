"""What goes in and comes out of each stage. Stored as JSON; a stage is a function from the one to the other."""

from pydantic import BaseModel, ConfigDict

from evolve.candidate import Candidate
from trial.report import Check, TrialReport


class Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Suspect(Stored):
    """A line of the baseline and how suspicious it is (Ochiai, in [0, 1])."""

    file: str
    line: int
    score: float


class Baseline(Stored):
    """How the baseline does on the visible cases, replayed now."""

    failing: tuple[str, ...]
    passing: tuple[str, ...]
    reasons: dict[str, str]


class Located(Stored):
    suspects: tuple[Suspect, ...]
    failing_replays: int
    passing_replays: int


class Plan(Stored):
    """What a coder will be told. `avoid` are diffs (by hash) that this run has tried already."""

    task: str
    suspects: tuple[Suspect, ...]
    cases: tuple[str, ...]
    avoid: tuple[str, ...]
    seed: int


class Review(Stored):
    """A gate's answer; when not `ok`, `word` is the verdict that it leads to."""

    ok: bool
    word: str = ""
    reason: str = ""
    checks: tuple[Check, ...] = ()


class Implemented(Stored):
    """The commit made from what the coder left; `commit` is None when nothing was changed."""

    commit: str | None
    diff_sha256: str
    diff_blob: str
    coder: str
    outcome: str
    seconds: float
    trials: int
    tokens: int
    usd_micros: int
    transcript_blob: str
    reason: str = ""


class Built(Stored):
    candidate: Candidate


class Tried(Stored):
    report: TrialReport
    trials_blob: str


class Evaluated(Stored):
    """One pass in words and numbers, for people and for the next pass."""

    word: str
    reasons: tuple[str, ...]
    candidate_id: str | None
    gained: tuple[str, ...]
    lost: tuple[str, ...]


class Decided(Stored):
    """The verdict of a pass: whether the run ends here."""

    word: str
    reasons: tuple[str, ...]
    candidate_id: str | None
    final: bool
