"""What a trial says: one frozen report per candidate, hashed, carrying the hashes of batch and candidate
before it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from evidence.canonical import digest

Outcome = Literal["pass", "fail", "invalid"]
Arm = Literal["baseline", "candidate"]
Split = Literal["visible", "held_out", "regression", "honeypot"]
VerdictWord = Literal[
    "converged",
    "needs_work",
    "inconclusive",
    "regressed",
    "limit_model",
    "limit_architecture",
    "out_of_budget",
    "cheated",
]


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Grade(Frozen):
    """One grader's answer. `score` in [0, 1]; 1.0 passes unless the grader's configuration says otherwise."""

    grader: str
    score: float
    passed: bool
    reason: str = ""
    keypoints: tuple[str, ...] = ()


class Trial(Frozen):
    """One case replayed once against one image."""

    case_id: str
    split: Split
    arm: Arm
    digest: str
    outcome: Outcome
    grades: tuple[Grade, ...] = ()
    latency: float = 0.0
    seed: int = 0
    reason: str = ""
    """For `invalid`: what broke in the arena. For `fail`: the first failed grader's reason."""
    reply: str = ""
    """What was answered, in words and capped: for people, never judged by."""
    flags: tuple[str, ...] = ()
    """Checks that accuse the candidate, each `name: what was seen` (unreported calls, silent event log, …)."""


class SplitCount(Frozen):
    cases: int
    passed: int
    failed: int
    invalid: int


class Check(Frozen):
    """A named question with an answer and a reason."""

    name: str
    ok: bool
    reason: str


class TrialReport(Frozen):
    """The measured comparison of a candidate with its baseline and the verdict drawn from it."""

    v: Literal[1] = 1
    id: str
    batch_digest: str
    candidate_digest: str
    """Hash of the Candidate object, not of the image."""
    baseline_image: str
    candidate_image: str
    verdict: VerdictWord
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    e_value: float
    e_threshold: float
    e_path: tuple[float, ...]
    """The e-value after each decided held-out pair."""
    held_out_pairs: int
    margin_points: float
    """The non-inferiority margin, in points, that the regression cases carried."""
    regression_upper_points: float
    """95 % upper bound on the loss on regression cases, in points."""
    baseline: dict[str, SplitCount]
    candidate: dict[str, SplitCount]
    trials_planned: int
    trials_run: int
    trials_saved: int
    seed: int
    trials_digest: str
    """Over the list of Trial rows, in order."""
    cannot_show: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest(self)
