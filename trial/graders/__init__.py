"""Graders: what is right, said by the operator, judged outside of the candidate's reach. See
docs/graders.md."""

from trial.graders.base import Grader, GraderBroken, GraderError
from trial.graders.config import GraderConfig
from trial.graders.graderset import GraderSet, load_graders

__all__ = ["Grader", "GraderBroken", "GraderConfig", "GraderError", "GraderSet", "load_graders"]
