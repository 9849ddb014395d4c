"""Select: who leads. Of several, the first of the ranking is measured again with another seed before it does; a score that
was luck falls back, and the next is looked at. One alone is preferred to nobody by luck: the trial measures it."""

from collections.abc import Sequence
from dataclasses import replace

from evolve.archive import Entry, lead, rank
from evolve.context import RunContext
from evolve.stages.models import Controls, Selected
from evolve.stages.scores import scores_of
from evolve.stages.screen import jobs


def run(context: RunContext, entries: Sequence[Entry], images: dict[str, str], field: Controls) -> Selected:
    """`entries`: all of the run; `images` by candidate. A leader mends more than merely asking again does, loses
    nothing, and was not tried before."""
    fresh = [entry for entry in entries if entry.scores and not entry.word and not entry.lost]
    able = {entry.id: entry for entry in fresh if lead(entry.scores, field.rerun) is not None}
    again: dict[str, dict[str, float]] = {}
    bar = sum(field.rerun.values())
    while order := rank(able.values()):
        first = order[0]
        if not (lead(first.scores, field.rerun) or 0) > 0:
            return Selected(
                leader=None,
                order=_ids(order),
                scores=again,
                reason=f"none mends more than asking again ({bar:.0f})",
            )
        if first.id in again or len(able) == 1:
            context.say(
                "select",
                f"{first.id} leads {len(order)} candidates: mends {first.gain:.1f} of {len(first.scores)}",
            )
            return Selected(leader=first.id, order=_ids(order), scores=again, reason="")
        again[first.id] = _second_look(context, first, images[first.id])
        able[first.id] = replace(first, scores=again[first.id])
    if fresh:
        reason = "none was scored on a case on which asking again was: the arena broke the rest"
        return Selected(leader=None, order=_ids(fresh), scores=again, reason=reason, word="inconclusive")
    return Selected(leader=None, order=(), scores=again, reason="no candidate stands that was not tried")


def _second_look(context: RunContext, entry: Entry, image: str) -> dict[str, float]:
    """Scores over both looks; where the arena broke the second, the first alone counts."""
    cases = [case for case in context.batch.visible if entry.scores.get(case.id)]
    passed = scores_of(context.replay(jobs(image, cases, context.seed + 1)))
    return {
        case: (share + passed[case]) / 2 if case in passed else share for case, share in entry.scores.items()
    }


def _ids(order: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.id for entry in order)
