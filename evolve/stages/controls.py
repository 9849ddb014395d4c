"""Controls: what asking again does. "No change" is the baseline itself, whose failing cases score nothing by definition;
"re-run" is the baseline asked once more. A proposal that mends no more than that has mended nothing."""

from evolve.context import RunContext
from evolve.stages.baseline import jobs
from evolve.stages.models import Baseline, Controls
from evolve.stages.scores import scores_of


def run(context: RunContext, known: Baseline) -> Controls:
    failing = [case for case in context.batch.visible if case.id in known.failing]
    again = context.replay(jobs(context, failing, seed=context.seed + 1))
    scores = scores_of(again)
    lucky = sum(scores.values())
    if lucky:
        context.say(
            "controls", f"{lucky:.0f} of {len(scores)} failing cases pass when they are merely asked again"
        )
    return Controls(rerun=scores)
