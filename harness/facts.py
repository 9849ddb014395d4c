"""What a turn says of a workflow that it made or ran: one fact, bounded whatever strangers wrote into it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from workflows.codec import canonical, digest, to_json
from workflows.graph import Call, MapNode, Node, ToolNode, Workflow
from workflows.record import WorkflowResult

LONGEST, MOST_DOUBTS = 300, 16
LARGEST = 8192
"""Bytes of a graph that is told whole."""


State = Literal["done", "failed", "skipped", "cut_off"]


class StepFact(NamedTuple):
    id: str
    state: State
    attempts: int
    error: str | None


def steps_of(result: WorkflowResult) -> tuple[StepFact, ...]:
    return tuple(
        StepFact(record.node, record.state, record.attempts, record.error) for record in result.records
    )


def workflow_facts(
    workflow: Workflow,
    source: Literal["shipped", "planned"],
    steps: Sequence[StepFact],
    *,
    ran: bool,
    answered: bool,
    cut_off: bool = False,
    doubts: Sequence[str] = (),
) -> dict[str, object]:
    """`cut_off`: it was not run to its end, or no more was tried with it, for time or calls were used up."""
    tools = {node.id: _tool(node) for node in workflow.nodes}
    facts: dict[str, object] = {
        "name": workflow.name,
        "digest": digest(workflow),
        "source": source,
        "ran": ran,
        "answered": answered,
        "steps": [_step(step, tools[step.id]) for step in steps],
        "doubts": [cut(doubt) for doubt in doubts[:MOST_DOUBTS]],
        "tool_calls": sum(step.attempts for step in steps if tools[step.id]),
    }
    if cut_off:
        facts["cut_off"] = True
    if len(canonical(workflow)) <= LARGEST:
        facts["workflow"] = to_json(workflow)
    return facts


def _tool(node: Node) -> str:
    if isinstance(node, MapNode) and isinstance(node.each, Call):
        return node.each.tool
    return node.tool if isinstance(node, ToolNode) else ""


def _step(fact: StepFact, tool: str) -> dict[str, object]:
    step: dict[str, object] = {"id": fact.id, "state": fact.state, "attempts": fact.attempts}
    if tool:
        step["tool"] = cut(tool)
    if fact.error is not None:
        step["error"] = cut(fact.error)
    return step


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
