"""May this case judge candidates? Asked when a batch is sealed.

Verifiers that a lazy agent can satisfy are the commonest hole in benchmarks. So a case is admitted only if an agent that
does nothing fails it. That the recorded result happens again on the baseline is seen when its prelude is looked for, and
again in every comparison.
"""

import tempfile
from pathlib import Path

from evidence.cases import CaseContent
from trial.graders import GraderBroken, GraderSet
from trial.nothing import EMPTY
from trial.replay import Replay
from trial.turns import ReplayedTurn


def nothing_passes(case: CaseContent, graders: GraderSet) -> str | None:
    """Why the case can't tell an agent that does nothing from one that works, or None."""
    with tempfile.TemporaryDirectory(prefix="nothing-") as folder:
        turn = ReplayedTurn(case.turn.request_id, 200, EMPTY, {"content-type": "application/json"})
        try:
            grades = graders.grade(case, Replay(turns=(turn,), calls=(), files=Path(folder)))
        except GraderBroken as error:
            return f"a grader can't judge it: {error}"
    if all(grade.passed for grade in grades):
        return "an agent that does nothing passes it"
    return None
