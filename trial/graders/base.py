"""The seam between the arena and whatever judges an answer.

A grader judges what left the replay: the reply, the gateway's calls, the exported files. It never runs in the
candidate's process, and it runs after the candidate was stopped. Three ends are kept apart: the answer is
right, the answer is wrong, and the *grader* broke. The last is never a score: it raises GraderBroken, which
the arena treats like any other breakdown of its own, and the trial is `invalid`.
"""

from typing import Protocol

from containers.runtime import RuntimeBroken
from evidence.cases import CaseContent
from trial.replay import Replay
from trial.report import Grade


class GraderBroken(RuntimeBroken):
    """The grader raised, hung, said nonsense, or is not the one that the case was sealed with."""


class GraderError(ValueError):
    """The configuration of a grader is wrong; one line that names the grader and the remedy."""


class Grader(Protocol):
    """One way to judge a case."""

    @property
    def digest(self) -> str:
        """Over its configuration and every file that it executes."""

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        """Raises GraderBroken when it can't tell right from wrong."""


def make_grade(name: str, score: float, pass_at: float, reason: str) -> Grade:
    return Grade(grader=name, score=score, passed=score >= pass_at, reason=reason[:500])
