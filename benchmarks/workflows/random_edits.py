"""The arm of random edits: one plan, then typed edits at random, run after run, until nothing fails. It sees errors, and not
the verifier; which edit may help is left to chance."""

from random import Random

from benchmarks.workflows.setting import Setting
from workflows.compiled import WorkflowError
from workflows.engine import run
from workflows.graph import Workflow
from workflows.grounding import Request
from workflows.planner import PlannerFailed
from workflows.searching.variation import vary

MOST_TRIES = 10
"""Runs after the first one."""
MOST_EDITS = 3
"""At once."""


async def random_edits(setting: Setting, request: str, /) -> str | None:
    """Of what failed least so far. The same request means the same edits."""
    rng, catalog = Random(request), setting.arena.catalog
    try:
        workflow = (await setting.planner.plan(request)).workflow
    except PlannerFailed:
        return None
    literals = Request(request, catalog).values
    text, least = await _ran(workflow, setting)
    for _ in range(MOST_TRIES):
        if not least:
            break
        child = vary(workflow, catalog, literals, rng, intensity=rng.randint(1, MOST_EDITS))
        if child is None:
            continue
        setting.arena.put_back(setting.episode)
        text, errors = await _ran(child.workflow, setting)
        if errors <= least:
            workflow, least = child.workflow, errors
    return text


async def _ran(workflow: Workflow, setting: Setting) -> tuple[str | None, int]:
    """The answer, and how many steps did not get done."""
    try:
        result = await run(workflow, {}, setting.episode.caller)
    except WorkflowError:
        return None, len(workflow.nodes)
    return result.text, sum(record.state != "done" for record in result.records)
