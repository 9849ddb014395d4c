"""What a run cost: in all, by stage, and by proposal. Each of the two parts adds up to the whole."""

from collections.abc import Iterable, Mapping

from evolve.tables import RunRow, StageRow
from evolve.views.record import Record

Where = tuple[int, int]
"""A proposal: its pass, and its number within it."""


class Cost(Record):
    usd_micros: int = 0
    tokens: int = 0
    trials: int = 0
    seconds: float = 0.0

    def plus(self, other: "Cost", sign: int = 1) -> "Cost":
        return Cost(
            usd_micros=self.usd_micros + sign * other.usd_micros,
            tokens=self.tokens + sign * other.tokens,
            trials=self.trials + sign * other.trials,
            seconds=self.seconds + sign * other.seconds,
        )


class StageCost(Record):
    name: str
    cost: Cost


class ProposalCost(Record):
    iteration: int
    proposal: int
    candidate: str | None
    """What came of it; None where it ended before one was built."""
    cost: Cost
    """Everything that was done for it, its trial on held-out cases included."""


class RunCosts(Record):
    total: Cost
    stages: tuple[StageCost, ...]
    """By name, in the order of their first time."""
    proposals: tuple[ProposalCost, ...]
    shared: Cost
    """Of stages that concern all proposals."""
    unassigned: Cost
    """What no stage has: nothing but fractions of a second, unless an earlier version worked on the run."""


def run_costs(run: RunRow, stages: Iterable[StageRow], candidates: Mapping[str, Where]) -> RunCosts:
    """`candidates`: where each was made."""
    by_stage: dict[str, Cost] = {}
    by_proposal: dict[Where, Cost] = {}
    shared, total = Cost(), cost_of(run)
    for stage in stages:
        cost = cost_of(stage)
        by_stage[stage.name] = by_stage.get(stage.name, Cost()).plus(cost)
        here = (stage.iteration, stage.proposal)
        where = here if stage.proposal else candidates.get(stage.candidate_id or "")
        if where is None:
            shared = shared.plus(cost)
        else:
            by_proposal[where] = by_proposal.get(where, Cost()).plus(cost)
    made = {where: candidate for candidate, where in candidates.items()}
    return RunCosts(
        total=total,
        stages=tuple(StageCost(name=name, cost=cost) for name, cost in by_stage.items()),
        proposals=tuple(
            ProposalCost(iteration=where[0], proposal=where[1], candidate=made.get(where), cost=cost)
            for where, cost in sorted(by_proposal.items())
        ),
        shared=shared,
        unassigned=total.plus(sum_of(by_stage.values()), -1),
    )


def sum_of(costs: Iterable[Cost]) -> Cost:
    total = Cost()
    for cost in costs:
        total = total.plus(cost)
    return total


def cost_of(row: RunRow | StageRow) -> Cost:
    return Cost(usd_micros=row.usd_micros, tokens=row.tokens, trials=row.trials, seconds=row.seconds)
