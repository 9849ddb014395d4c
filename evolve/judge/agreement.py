"""Two orders of the same pairs side by side. What they don't agree on is no opinion, and is shown as what it is."""

from collections.abc import Sequence

from evolve.judge.models import LEVELS, Judged, JudgedCase, JudgedPoint, Level, Pair, Pairs, Scored, Word
from trial.report import Arm


def side_by_side(pairs: Pairs, orders: Sequence[Scored]) -> Judged:
    """`orders`: both, or none where there was nothing to ask about."""
    trouble = next((scored.trouble for scored in orders if scored.trouble), "")
    cases = [] if trouble else [_case(pair, orders) for pair in pairs.pairs]
    return Judged(
        candidate_id=pairs.candidate_id,
        judge=pairs.judge,
        keypoints=pairs.keypoints,
        cases=tuple(cases),
        alike=pairs.alike,
        trouble=trouble,
    )


def _case(pair: Pair, orders: Sequence[Scored]) -> JudgedCase:
    one, other = (scored.levels[pair.case_id] for scored in orders)
    words = {_word(one), _word(other)}
    return JudgedCase(
        case_id=pair.case_id,
        mended=pair.mended,
        word=words.pop() if len(words) == 1 else "disagree",
        points=tuple(
            JudgedPoint(text=text, baseline=baseline, candidate=candidate)
            for text, baseline, candidate in zip(
                pair.points,
                zip(one["baseline"], other["baseline"], strict=True),
                zip(one["candidate"], other["candidate"], strict=True),
                strict=True,
            )
        ),
    )


def _word(levels: dict[Arm, tuple[Level, ...]]) -> Word:
    """Of one order alone: by the steps from `missing`, over all keypoints."""
    candidate, baseline = (sum(map(LEVELS.index, levels[arm])) for arm in ("candidate", "baseline"))
    return "better" if candidate > baseline else "worse" if candidate < baseline else "same"
