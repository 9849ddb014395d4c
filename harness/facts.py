"""What a turn says of a workflow that it made or ran: one fact, bounded whatever strangers wrote into it."""

from collections.abc import Sequence
from typing import Literal

from workflows.codec import canonical, digest, to_json
from workflows.graph import Workflow
from workflows.record import NodeRecord, WorkflowResult

LONGEST, MOST_DOUBTS = 300, 16
LARGEST = 8192
"""Bytes of a graph that is told whole."""


def workflow_facts(
    workflow: Workflow,
    source: Literal["shipped", "planned"],
    result: WorkflowResult | None,
    *,
    ran: bool,
    answered: bool,
    doubts: Sequence[str] = (),
    **more: object,
) -> dict[str, object]:
    """`result` None: it was not run, or not to its end."""
    tools = {node.id: getattr(node, "tool", "") for node in workflow.nodes}
    records = result.records if result else ()
    facts: dict[str, object] = {
        "name": workflow.name,
        "digest": digest(workflow),
        "source": source,
        "ran": ran,
        "answered": answered,
        "steps": [_step(record, tools[record.node]) for record in records],
        "doubts": [_cut(doubt) for doubt in doubts[:MOST_DOUBTS]],
        "tool_calls": sum(record.attempts for record in records if tools[record.node]),
    }
    if len(canonical(workflow)) <= LARGEST:
        facts["workflow"] = to_json(workflow)
    return facts | more


def _step(record: NodeRecord, tool: str) -> dict[str, object]:
    step: dict[str, object] = {"id": record.node, "state": record.state, "attempts": record.attempts}
    if tool:
        step["tool"] = _cut(tool)
    if record.error is not None:
        step["error"] = _cut(record.error)
    return step


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
