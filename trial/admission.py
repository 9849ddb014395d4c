"""May this case judge candidates? Asked before a batch is sealed, answered with reasons.

Verifiers that a lazy agent can satisfy are the commonest hole in benchmarks. So an item is admitted only
if an agent that does nothing fails it, an image that is known to be right passes it, and the baseline's
recorded result happens again.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from evidence.cases import CaseContent
from trial.graders import GraderBroken, GraderSet
from trial.nothing import EMPTY
from trial.plan import TrialCase
from trial.replay import Replay
from trial.report import Frozen, Outcome, Trial
from trial.turns import ReplayedTurn


class Admission(Frozen):
    """`flags` are doubts that do not keep a case out; `reasons` keep it out."""

    case_id: str
    admitted: bool
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def admit(
    case: TrialCase, graders: GraderSet, baseline: Sequence[Trial], oracle: Trial | None = None
) -> Admission:
    """`baseline`: the case's replays on the baseline, one or more. `oracle`: its replay on an image that is
    known to be right; without one the case is admitted with a flag."""
    reasons = [reason for reason in (nothing_passes(case, graders), not_reproduced(case, baseline)) if reason]
    flags = []
    if oracle is None:
        flags.append("no image is known to pass it")
    elif oracle.outcome != "pass":
        reasons.append(
            f"an image that is known to be right does not pass it: {oracle.reason or oracle.outcome}"
        )
    if len(baseline) == 1:
        flags.append("replayed once: how flaky it is was not seen")
    return Admission(case_id=case.id, admitted=not reasons, reasons=tuple(reasons), flags=tuple(flags))


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


def not_reproduced(case: TrialCase, baseline: Sequence[Trial]) -> str | None:
    """Why the recorded result counts as not happening again, or None."""
    wanted: Outcome = "pass" if case.split == "regression" else "fail"
    seen = [trial.outcome for trial in baseline]
    if not seen:
        return "it was not replayed on the baseline"
    if all(outcome == wanted for outcome in seen):
        return None
    how = f"{seen.count(wanted)} of {len(seen)} replays on the baseline {wanted}"
    broken = next((trial.reason for trial in baseline if trial.outcome == "invalid"), "")
    return f"{how}: {broken}" if broken else how
