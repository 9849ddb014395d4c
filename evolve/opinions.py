"""Reviews by an opponent: another coder call that must argue against, and name what would slip through, before it approves.

An opponent that gave no answer has not approved. Its approval alone lets nothing through: only numbers do.
"""

from collections.abc import Mapping

from evolve import prompts
from evolve.asking import ask
from evolve.coding.protocol import CodingTask
from evolve.context import RunContext
from evolve.stage import Place
from evolve.stages.material import material
from evolve.stages.models import Opinion, Plan, Review
from trial.report import Check

MAX_REASON = 2000


def ask_opponent(
    context: RunContext,
    role: str,
    place: Place,
    commit: str,
    shown: Mapping[str, str],
    planned: Plan,
    objections: str,
    checks: tuple[Check, ...],
) -> Review:
    """`role` names the stage and its prompt; `shown`: files beside the task; `objections`: what was said before.

    Without a configured reviewer the deterministic checks suffice.
    """
    reviewer = context.settings.run.reviewer
    if not reviewer:
        return Review(ok=True, checks=checks)
    text, prompt = prompts.fill(role, service=context.manifest.name, objections=objections)
    files = {**material(context, commit, planned.suspects), **shown}
    task = CodingTask(text=text, files=files, seed=planned.seed, answers=True)
    opinion, asked = ask(context, role, place, reviewer, commit, task, prompt, Opinion)
    if opinion is None:
        return Review(
            ok=False, word="needs_work", reason=f"no review: {asked.trouble}", checks=checks, asked=asked
        )
    if opinion.approve:
        return Review(ok=True, checks=checks, opinion=opinion, asked=asked)
    reason = f"{reviewer} refuses: {'; '.join(opinion.required)}"[:MAX_REASON]
    return Review(ok=False, word="needs_work", reason=reason, checks=checks, opinion=opinion, asked=asked)
