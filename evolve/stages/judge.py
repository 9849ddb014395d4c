"""Judge: one order of a candidate's pairs of replies, scored blind by the locked keypoints."""

from functools import partial

from evolve.context import RunContext
from evolve.judge.asking import ask_judge
from evolve.judge.blind import by_arm, draw_first, misfit, show
from evolve.judge.models import Pairs, Scored, ScoresAnswer
from evolve.stage import Place


def run(context: RunContext, place: Place, pairs: Pairs) -> Scored:
    """The second round is the first with every pair swapped."""
    first = draw_first(pairs, context.seed, place, swapped=place.round > 0)
    shown = show(pairs, {case.id: case for case in context.batch.visible}, first)
    answer, asked, trouble = ask_judge(
        context, "judge", place, {"pairs.md": shown}, ScoresAnswer, partial(misfit, pairs=pairs)
    )
    return Scored(
        first=first,
        levels=by_arm(answer, pairs, first) if answer is not None else {},
        shown_blob=context.store.blobs.put(shown.encode()),
        asked=asked,
        trouble=trouble,
    )
