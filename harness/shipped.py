"""A shipped workflow in a turn: run, and told of, also when the turn is cut off in the middle of it."""

from collections.abc import Mapping

from harness.calls import Followed, WorkflowCaller
from harness.facts import steps_of, workflow_facts
from harness.turn import TurnContext
from workflows.compiled import compiled
from workflows.engine import run
from workflows.graph import Workflow
from workflows.record import WorkflowResult


async def run_shipped(
    context: TurnContext, workflow: Workflow, inputs: Mapping[str, object], caller: WorkflowCaller, limit: int
) -> str | None:
    """The workflow's text; None when something that it needs failed."""
    ready = compiled(workflow)
    followed, before = Followed(caller), context.usage.total
    result: WorkflowResult | None = None
    try:
        result = await run(ready, inputs, followed, limit=limit)
    finally:
        caller.release([step.id for step in ready.steps])
        tokens = context.usage.total - before
        more: dict[str, object] = {"tokens": tokens} if tokens else {}
        facts = workflow_facts(
            workflow,
            "shipped",
            followed.steps() if result is None else steps_of(result),
            ran=True,
            answered=result is not None and result.text is not None,
            cut_off=result is None,
        )
        context.log.emit("workflow", **facts | more)
    return result.text
