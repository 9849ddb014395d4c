"""How good a workflow is, by what came of it when it ran: what its task's verifiers say, whether its answer is built from
results, and what it cost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from workflows.graph import MapNode, ModelNode, OutputNode, Ref, ToolNode, Workflow, calls, taken
from workflows.order import Order
from workflows.record import WorkflowResult
from workflows.types import Schema

TOKENS_A_CALL = 1000
"""So many tokens of a model count as much as one tool call."""
TIE = 0.001
"""Coverage decides between those that the verifiers find equal, and never against them."""


class Spending(NamedTuple):
    """What was really spent; what a memo answered costs nothing."""

    tool_calls: int = 0
    tokens: int = 0

    def plus(self, other: "Spending") -> "Spending":
        return Spending(self.tool_calls + other.tool_calls, self.tokens + other.tokens)


NOTHING = Spending()


@dataclass(frozen=True, slots=True)
class Fitness:
    completion: float
    """The share of what the task's verifiers ask for, in [0, 1]. Not whether it ran."""
    coverage: float = 1.0
    """The share of the steps that are known to be needed which got done, of a number that does not change during a search:
    a workflow does not get better by losing steps."""
    grounding: float = 1.0
    """The share of what the answer tells that is a result."""
    cost: float = 0.0
    """Of one run: tool calls, and tokens as `TOKENS_A_CALL` has it."""
    latency: float = 0.0
    """Of one run, in whatever measure; a measured time makes a search one that can't be repeated exactly."""
    failures: tuple[tuple[str, str], ...] = ()
    """Steps that failed, each with its error."""
    complaints: tuple[str, ...] = ()
    """What the verifiers miss, for people and models."""
    learnt: Mapping[str, Schema] = field(default_factory=dict)
    """Tool -> schema of the results that were seen."""
    spent: Spending = NOTHING

    @property
    def complete(self) -> bool:
        return self.completion >= 1.0

    @property
    def objectives(self) -> tuple[float, float, float, float]:
        """More of the first two is better, and less of the others."""
        return (
            self.completion + TIE * self.coverage,
            self.grounding,
            self.cost,
            self.latency,
        )

    @property
    def order(self) -> tuple[float, float, float, float]:
        """Least is best: done comes before grounded, grounded before cheap, cheap before fast."""
        done, grounded, cost, latency = self.objectives
        return -done, -grounded, cost, latency


def coverage(needed: Iterable[str], workflow: Workflow, result: WorkflowResult) -> float:
    """`needed`: tools, as often as they have to be called by different steps."""
    wanted = Counter(needed)
    states = {record.node: record.state for record in result.records}
    done = Counter(
        call.tool for node in workflow.nodes if states.get(node.id) == "done" for _, call in calls(node)
    )
    return (wanted & done).total() / wanted.total() if wanted else 1.0


def grounding(workflow: Workflow, result: WorkflowResult) -> float:
    """Of the output's values those that come, maybe by way of other steps, from a call that was made. None told: 0."""
    order = Order(workflow)
    output = next((node for node in workflow.nodes if isinstance(node, OutputNode)), None)
    if output is None or result.text is None or not output.values:
        return 0.0
    done = {record.node for record in result.records if record.state == "done"}
    called = {node.id for node in workflow.nodes if isinstance(node, ToolNode | ModelNode | MapNode)} & done
    built = [
        isinstance(argument, Ref)
        and argument.source in order.nodes
        and bool(order.needed_by([argument.source]) & called)
        for _, argument in taken(output)
    ]
    return sum(built) / len(built)


def longest_chain(workflow: Workflow, result: WorkflowResult) -> int:
    """Calls that have to wait for one another: what a run takes, whatever the day's weather."""
    order = Order(workflow)
    made = {record.node: int(record.attempts > 0) for record in result.records}
    length: dict[str, int] = {}
    for name in order.sequence:
        length[name] = made.get(name, 0) + max((length[other] for other in order.needs[name]), default=0)
    return max(length.values(), default=0)
