"""Pairs of replies without a name: which of the two is the baseline's is drawn for each case, and kept from the judge."""

import random
from collections.abc import Mapping

from evidence.cases import VisibleCase
from evolve.judge.models import Level, Pair, Pairs, ScoresAnswer
from evolve.judge.sheet import numbered, section, sheet
from evolve.stage import Place
from trial.report import Arm

OTHER: Mapping[Arm, Arm] = {"baseline": "candidate", "candidate": "baseline"}


def draw_first(pairs: Pairs, seed: int, place: Place, swapped: bool) -> dict[str, Arm]:
    """Whose reply stands as A in each case. `swapped`: just the other one."""
    first: dict[str, Arm] = {}
    for pair in pairs.pairs:
        rng = random.Random(f"judge:{seed}:{place.iteration}:{place.proposal}:{pair.case_id}")
        arm: Arm = "baseline" if rng.random() < 0.5 else "candidate"
        first[pair.case_id] = OTHER[arm] if swapped else arm
    return first


def show(pairs: Pairs, cases: Mapping[str, VisibleCase], first: Mapping[str, Arm]) -> str:
    """The file that the judge reads. Nothing in it depends on an arm but the place of its reply."""
    found: list[tuple[str, str]] = []
    for name, pair in numbered(pairs.pairs):
        arm = first[pair.case_id]
        points = "\n".join(f"{key}: {point}" for key, point in zip(_keys(pair), pair.points, strict=True))
        found += [
            section(name, cases[pair.case_id]),
            (f"{name}: keypoints", points),
            (f"{name}: reply A", _reply(pair, arm)),
            (f"{name}: reply B", _reply(pair, OTHER[arm])),
        ]
    return sheet(found)


def misfit(answer: ScoresAnswer, pairs: Pairs) -> str:
    """Why these scores are not those that were asked for; empty when they are."""
    wanted = dict(numbered(pairs.pairs))
    if answer.cases.keys() != wanted.keys():
        return f"it was to score {', '.join(wanted)} and nothing else"
    for name, scores in answer.cases.items():
        keys = set(_keys(wanted[name]))
        if scores.A.keys() != keys or scores.B.keys() != keys:
            return f"{name}: its keypoints are {', '.join(sorted(keys))} and no others"
    return ""


def by_arm(
    answer: ScoresAnswer, pairs: Pairs, first: Mapping[str, Arm]
) -> dict[str, dict[Arm, tuple[Level, ...]]]:
    """A fitting answer with the letters undone: case -> arm -> level of each keypoint."""
    levels: dict[str, dict[Arm, tuple[Level, ...]]] = {}
    for name, pair in numbered(pairs.pairs):
        scores, arm = answer.cases[name], first[pair.case_id]
        levels[pair.case_id] = {
            arm: tuple(scores.A[key] for key in _keys(pair)),
            OTHER[arm]: tuple(scores.B[key] for key in _keys(pair)),
        }
    return levels


def _keys(pair: Pair) -> list[str]:
    return [f"k{number}" for number in range(1, len(pair.points) + 1)]


def _reply(pair: Pair, arm: Arm) -> str:
    return pair.baseline if arm == "baseline" else pair.candidate
