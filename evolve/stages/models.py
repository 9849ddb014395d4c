"""What goes in and comes out of each stage. Stored as JSON; a stage is a function from the one to the other."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from evolve.candidate import Candidate
from evolve.workflow_library import LIBRARY
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
    unmeasured: tuple[str, ...] = ()
    """Cases that the arena broke, however often they were retried."""
    replies: dict[str, str] = {}
    """What it answers where it fails, in words."""


class Located(Stored):
    suspects: tuple[Suspect, ...]
    failing_replays: int
    passing_replays: int

    @property
    def workflows(self) -> tuple[str, ...]:
        """Files of shipped workflows that failing turns ran."""
        return tuple(s.file for s in self.suspects if s.file.startswith(LIBRARY))


class Controls(Stored):
    """Failing visible case -> score of the baseline when it is asked again; as it is, it scores nothing on these. What the
    arena broke is left out."""

    rerun: dict[str, float]


class Failing(Stored):
    """What is known of the failing cases before anything is proposed."""

    baseline: Baseline
    controls: Controls


class Explained(Stored):
    """A visible case that fails by the model's answer."""

    case_id: str
    call: str
    """Whose answer it is: the first that differs from the right one."""
    said: str
    put: str
    """What stood in its place when the case passed."""
    replays: int
    """So many valid ones, and all of them passed."""


class RightAnswers(Stored):
    """What the right answer in the model's place shows; `explained` only when it is every failing case."""

    explained: tuple[Explained, ...] = ()
    unexplained: dict[str, str] = {}
    """Case -> why the model is not shown to be at fault; those that were looked at before the search ended."""


class Brief(Stored):
    """What a proposal starts from. `commits` are those of `parents`; none: the baseline."""

    coder: str
    seed: int
    parents: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    """Failing cases that the parent passes already."""
    lessons: tuple[str, ...] = ()
    """What became of the proposals before."""
    objections: tuple[str, ...] = ()
    """What the review of an earlier round said."""
    avoid: tuple[str, ...] = ()

    def start(self, baseline: str) -> str:
        """The commit that it starts from: its parent's, else `baseline`."""
        return self.commits[0] if self.commits else baseline


Text = Annotated[str, Field(min_length=1, max_length=8000)]
"""What a coder says: hostile, and capped."""


class Asked(Stored):
    """A call of a coder for an answer."""

    coder: str
    prompt_sha256: str
    """Of the file by which it was asked."""
    prompt_blob: str
    """What it was asked, word for word."""
    tokens: int
    usd_micros: int
    transcript_blob: str
    trouble: str = ""
    """Why there is no answer."""


class PlanAnswer(Stored):
    """What a planner hands in."""

    cause: Text
    files: Annotated[tuple[Text, ...], Field(min_length=1, max_length=50)]
    change: Text
    expected: Text
    risks: Text


class Mutation(Stored):
    """A wrong variant of a change that every visible case would pass."""

    file: Text
    change: Text
    slips: Text


class Opinion(Stored):
    """What an opponent hands in. It argues against in any case, and says what it requires unless it approves."""

    against: Annotated[tuple[Text, ...], Field(min_length=1, max_length=50)]
    mutation: Mutation
    approve: StrictBool
    required: Annotated[tuple[Text, ...], Field(max_length=50)]

    @model_validator(mode="after")
    def _says_what_it_wants(self) -> "Opinion":
        if self.approve and self.required:
            raise ValueError("approves, and requires something all the same")
        if not self.approve and not self.required:
            raise ValueError("refuses, and does not say what is required")
        return self


class Plan(Stored):
    """What a coder will be told. `avoid` are diffs (by hash) that this run has tried already."""

    task: str
    prompt_sha256: str = ""
    suspects: tuple[Suspect, ...]
    cases: tuple[str, ...]
    avoid: tuple[str, ...]
    seed: int
    answer: PlanAnswer | None = None
    """The planner's; None where nobody plans, or it gave none (`asked.trouble`)."""
    asked: Asked | None = None


class Review(Stored):
    """A gate's answer; when not `ok`, `word` is the verdict that it leads to."""

    ok: bool
    word: str = ""
    reason: str = ""
    checks: tuple[Check, ...] = ()
    opinion: Opinion | None = None
    asked: Asked | None = None


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
    prompt_blob: str = ""
    """What the coder was asked, word for word; empty for a merge, which nobody was asked for."""


class Built(Stored):
    candidate: Candidate


class Screened(Stored):
    """A candidate on the visible cases. `scores`: failing case -> 1.0 when it passes; `lost`: passing ones that fail. What
    the arena broke is in neither."""

    scores: dict[str, float]
    lost: tuple[str, ...]
    reasons: dict[str, str]
    """Why those that don't pass don't."""
    replies: dict[str, str] = {}
    """What it answers, in words, where the baseline fails."""


class Standing(Stored):
    """The population at a moment: (candidate, scores, lost cases, verdict so far), and what a judge that counts thinks."""

    entries: tuple[tuple[str, dict[str, float], tuple[str, ...], str], ...]
    judged: dict[str, int] = {}


class Selected(Stored):
    """Who is tried on held-out cases. `scores`: those that were measured again, over both looks."""

    leader: str | None
    order: tuple[str, ...]
    """Best first."""
    scores: dict[str, dict[str, float]]
    reason: str
    """Why nobody leads."""
    word: str = "needs_work"
    """What that makes of the pass."""


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
