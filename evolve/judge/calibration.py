"""Whether a judge counts: how often it said, in both orders, what the graders had confirmed. One case is one point, however
often it was judged; a judge that was wrong on it once was wrong on it."""

import math
from collections.abc import Iterable
from statistics import NormalDist

from evolve.judge.models import Calibrated, Judged

CONFIDENCE = 0.95


def calibrate(judge: str, judged: Iterable[Judged], *, needed_cases: int, needed: float) -> Calibrated:
    """Over judgements of this judge on mended cases, whichever run they are from; other judgements say nothing of it."""
    known: dict[str, bool] = {}
    for each in judged:
        if each.judge != judge:
            continue
        for case in each.cases:
            if case.mended:
                known[case.case_id] = known.get(case.case_id, True) and case.word == "better"
    cases, agreed = len(known), sum(known.values())
    lower = wilson_lower(agreed, cases)
    counts = cases >= needed_cases and lower >= needed
    seen = f"it agreed with the graders on {agreed} of {cases} cases"
    if cases < needed_cases:
        reason = f"not calibrated: {seen}; {needed_cases} cases are needed"
    elif not counts:
        reason = f"not calibrated: {seen}, at least {lower:.0%} of all; {needed:.0%} is needed"
    else:
        reason = f"calibrated: {seen}, at least {lower:.0%} of all"
    return Calibrated(judge=judge, cases=cases, agreed=agreed, lower=lower, counts=counts, reason=reason)


def wilson_lower(agreed: int, cases: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound on a share; 0 where there is no case.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 1927).
    """
    if not 0 <= agreed <= cases or not 0 < confidence < 1:
        raise ValueError(f"{agreed} of {cases} at {confidence}")
    if agreed == 0:
        return 0.0
    z, share = NormalDist().inv_cdf(confidence), agreed / cases
    middle = share + z * z / (2 * cases)
    spread = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    return (middle - spread) / (1 + z * z / cases)
