"""Scores of replays. What the arena broke, and broke again when it was retried, has none: it says nothing of anybody."""

from collections.abc import Iterable

from trial.report import Trial


def scores_of(trials: Iterable[Trial]) -> dict[str, float]:
    """Case -> 1.0 when it passed, 0.0 when it failed; a case without a valid trial is left out."""
    return {trial.case_id: float(trial.outcome == "pass") for trial in trials if trial.outcome != "invalid"}
