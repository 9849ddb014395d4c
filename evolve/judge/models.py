"""What the judge is asked, what it answers and what is made of it, stored as JSON like all that stages hand on."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from evolve.stages.models import Asked, Stored
from trial.report import Arm

Level = Literal["missing", "weak", "adequate", "strong"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From worst to best."""
Word = Literal["better", "same", "worse", "disagree"]
"""The candidate's reply against the baseline's; `disagree`: the two orders say different things."""

FEWEST, MOST = 3, 7
Point = Annotated[str, Field(min_length=1, max_length=400)]


class KeypointsAnswer(Stored):
    """What the judge hands in at the baseline: by case, what a good reply does."""

    cases: dict[str, Annotated[tuple[Point, ...], Field(min_length=FEWEST, max_length=MOST)]]


class PairScores(Stored):
    A: dict[str, Level]
    B: dict[str, Level]


class ScoresAnswer(Stored):
    """What it hands in on pairs: by case, reply and keypoint, how well that is met."""

    cases: dict[str, PairScores]


class JudgeGiven(Stored):
    """What keypoints are fixed for: this judge, this baseline (by hash)."""

    judge: str
    baseline: str


class CaseKeypoints(Stored):
    case_id: str
    points: tuple[Point, ...]


class Keypoints(Stored):
    """Fixed before anything is proposed. `judge` names coder, model and prompts by hash."""

    judge: str
    coder: str
    cases: tuple[CaseKeypoints, ...]
    asked: Asked | None
    trouble: str = ""
    """Why there are none."""


class Pair(Stored):
    """Two replies to one request. `mended`: the graders passed the candidate's, as they failed the baseline's."""

    case_id: str
    points: tuple[Point, ...]
    baseline: str
    candidate: str
    mended: bool


class Pairs(Stored):
    """All of a candidate, under keypoints that are named by hash. `alike`: cases whose replies don't differ in a word."""

    judge: str
    keypoints: str
    candidate_id: str
    pairs: tuple[Pair, ...]
    alike: tuple[str, ...]


class Scored(Stored):
    """One order of all pairs. `first`: whose reply stood as A, by case."""

    first: dict[str, Arm]
    levels: dict[str, dict[Arm, tuple[Level, ...]]]
    """Of each keypoint in its order; empty when the judge gave no answer."""
    shown_blob: str
    """The replies as it saw them."""
    asked: Asked | None
    trouble: str = ""


class JudgedPoint(Stored):
    """Each level twice: as it was scored in one order, and in the other."""

    text: Point
    baseline: tuple[Level, Level]
    candidate: tuple[Level, Level]


class JudgedCase(Stored):
    case_id: str
    mended: bool
    word: Word
    points: tuple[JudgedPoint, ...]


class Judged(Stored):
    """Both orders of a candidate side by side, nothing averaged. No cases when either has no answer."""

    candidate_id: str
    judge: str
    keypoints: str
    cases: tuple[JudgedCase, ...]
    alike: tuple[str, ...]
    trouble: str = ""

    def those(self, word: Word) -> tuple[str, ...]:
        return tuple(case.case_id for case in self.cases if case.word == word)

    @property
    def net(self) -> int:
        """Cases that it finds better less those that it finds worse, each in both orders."""
        return len(self.those("better")) - len(self.those("worse"))


class JudgedSoFar(Stored):
    """What a calibration answers: the judgements of this run by hash."""

    judge: str
    judged: tuple[str, ...]


class Calibrated(Stored):
    """Whether the judge counts, and why. `cases`: distinct ones on which the graders told the two replies apart;
    `lower`: 95 % bound on how often the judge agrees."""

    judge: str
    cases: int
    agreed: int
    lower: float
    counts: bool
    reason: str
