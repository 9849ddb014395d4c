"""Agree: what the judge says of a candidate, both orders side by side."""

from collections.abc import Sequence

from evolve.context import RunContext
from evolve.judge.agreement import side_by_side
from evolve.judge.models import Judged, Pairs, Scored
from evolve.judge.shown import in_words


def run(context: RunContext, pairs: Pairs, orders: Sequence[Scored]) -> Judged:
    judged = side_by_side(pairs, orders)
    context.say("agree", f"judge {context.settings.run.judge}: {in_words(judged)}")
    return judged
