"""The configuration in which a turn runs a shipped workflow that has several, measured ones."""

from collections.abc import Mapping

from harness.turn import TurnContext
from workflows.check import check
from workflows.graph import Workflow
from workflows.points import Point, pick
from workflows.shipped import Configured

LIMITS = ("most_seconds", "most_cost", "least_accuracy")
"""Settings of the session that the choice keeps to."""


def configured(
    context: TurnContext, workflow: Workflow, points: Mapping[str, tuple[Configured, ...]]
) -> Workflow:
    """The workflow of the picked point; itself where it has no points, or none whose tools are there as they have to be."""
    usable = [one for one in points.get(workflow.name, ()) if not check(one.workflow, context.catalog)]
    if not usable:
        return workflow
    limits = {name: float(context.settings[name]) for name in LIMITS if name in context.settings}
    picked = pick([one.point for one in usable], **limits)
    context.log.emit(
        "hook",
        name="workflow_point",
        point="turn",
        phase="before",
        decision="change" if picked.configuration else "allow",
        reason=f"{workflow.name}: {told(picked)}; one of {len(usable)} points",
    )
    return next(one.workflow for one in usable if one.point is picked)


def told(point: Point) -> str:
    names = ", ".join(f"{step}={name}" for step, name in sorted(point.configuration.items())) or "as it is"
    accuracy, seconds = point.accuracy.value, point.latency_ms.p90 / 1000
    return f"{names} (accuracy {accuracy:.2f}, {seconds:.3g} s, {point.cost_micro_usd} micro-USD)"
