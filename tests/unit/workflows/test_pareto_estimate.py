"""What the estimate composes from the steps is what the engine takes, on graphs of all kinds with constant times."""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runnable import runnable
from virtual_time import run_virtually

from workflows.calling import ModelRequest, Outcome, ToolRequest
from workflows.engine import run
from workflows.graph import MapNode, ToolNode, Workflow
from workflows.order import Order
from workflows.pareto.bench import Bench
from workflows.pareto.estimate import cost, demand, makespan, spent, summary
from workflows.pareto.meter import Budget, Made, Meter, Place
from workflows.pareto.profile import Profile
from workflows.pareto.space import Alternative, Configurations, Prices, Space
from workflows.points import Estimate
from workflows.verify import Case, Verify

INPUTS: dict[str, object] = {"n": 3, "list": [1, {"n": 2}]}
PRICES = Prices(tools={"s/tool": 7, "s/each": 11, "s/other": 3})
ENOUGH = 64
bounded = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def dice(*parts: object) -> int:
    """0 to 255."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()[0]


@dataclass
class Constant:
    """Tools that take as long as their name says on each step, and that answer, or fail, by arguments and attempt alone."""

    seed: int
    faults: int

    async def tool(self, request: ToolRequest) -> Outcome:
        await asyncio.sleep(seconds(self.seed, request.node, request.tool))
        number = dice(self.seed, request.attempt, request.arguments)
        if number * 100 < self.faults * 256:
            return Outcome(None, "a fault")
        return Outcome({"n": number, "list": [number, {"n": number % 7}][: number % 4]})

    async def model(self, request: ModelRequest) -> Outcome:
        raise AssertionError(request)

    def repeatable(self, tool: str) -> bool:
        return True


def seconds(seed: int, node: str, tool: str) -> float:
    return (1 + dice(seed, node, tool) % 9) / 8


async def metered(workflow: Workflow, caller: Constant, slots: int) -> tuple[Meter, float]:
    clock = asyncio.get_running_loop().time
    meter = Meter(caller, PRICES, Budget(clock=clock))
    await run(workflow, INPUTS, meter, limit=slots)
    return meter, clock()


def composed(workflow: Workflow, meter: Meter, slots: int) -> tuple[float, int]:
    order = Order(workflow)
    needs = {name: order.needs[name] for name in order.sequence}
    calls = {name: [one for one in meter.made if one.at.node == name] for name in needs}
    found = cost(needs, calls, slots)
    return found.seconds, found.milli_micro_usd


def test_items_stand_side_by_side_attempts_and_the_recovery_one_after_the_other() -> None:
    def made(place: str, attempt: int, seconds: float) -> Made:
        return Made(Place("n", place, attempt), seconds, 1, 0, 0)

    calls = [
        made("each.10", 1, 4.0),
        made("policy.recovery", 1, 8.0),
        made("each.2", 2, 2.0),
        made("each.2", 1, 1.0),
    ]
    assert demand(calls) == (((1.0, 2.0), (4.0,)), ((8.0,),))
    needs = {"n": frozenset[str](), "after": frozenset({"n"})}
    assert makespan(needs, {"n": demand(calls), "after": (((16.0,),),)}, 2) == 4 + 8 + 16
    assert makespan(needs, {"n": demand(calls)}, 1) == 15


@bounded
@given(runnable(), st.integers(0, 999), st.sampled_from([0, 30]))
def test_a_runs_calls_laid_out_take_as_long_as_the_run(workflow: Workflow, seed: int, faults: int) -> None:
    meter, took = run_virtually(metered(workflow, Constant(seed, faults), ENOUGH))
    seconds_, money = composed(workflow, meter, ENOUGH)
    assert abs(seconds_ - took) < 1e-6
    assert money == 1000 * sum(PRICES.tools[request.tool] for request, _ in meter.calls)


@bounded
@given(runnable(), st.integers(0, 999), st.integers(1, 3))
def test_with_few_slots_both_keep_the_bounds_of_any_list_schedule(
    workflow: Workflow, seed: int, slots: int
) -> None:
    """Which of the calls that wait goes first is luck; but no slot is idle while one waits (R. L. Graham, 1969)."""
    meter, took = run_virtually(metered(workflow, Constant(seed, 0), slots))
    longest, _ = composed(workflow, meter, ENOUGH)
    work = sum(one.seconds for one in meter.made)
    seconds_, _ = composed(workflow, meter, slots)
    for found in (took, seconds_):
        assert found >= max(longest, work / slots) - 1e-6
        assert found <= work / slots + longest * (1 - 1 / slots) + 1e-6
    if slots == 1:
        assert abs(seconds_ - took) < 1e-6


@bounded
@given(runnable(), st.integers(0, 999), st.sampled_from([0, 30]), st.randoms(use_true_random=False))
def test_a_configurations_estimate_is_what_it_then_takes(
    workflow: Workflow, seed: int, faults: int, rng: Random
) -> None:
    """Where an alternative changes what a step takes, and not what it gives, as many may be combined as there are."""
    callers = [node.id for node in workflow.nodes if isinstance(node, ToolNode | MapNode)]
    steps = {name: {"other": Alternative(tool="s/other")} for name in callers}
    space = Space(workflow, Configurations(steps, PRICES))
    choice = tuple(rng.choice(space.names(step)) for step in space.steps)

    async def both() -> tuple[Estimate | None, Estimate]:
        budget = Budget(clock=asyncio.get_running_loop().time)
        bench = Bench([Case(Verify(), INPUTS)], Constant(seed, faults), PRICES, budget, slots=ENOUGH)
        profile = Profile(space, ENOUGH)
        profile.runs[space.own] = await bench.measure(workflow)
        profile.anchors.append(space.own)
        for step, one in space.one_changes(space.own):
            profile.runs[one] = await bench.profile(space.configured(one), step)
        runs = await bench.measure(space.configured(choice))
        measured = summary([not one.complaints for one in runs], [spent(one) for one in runs])
        return profile.estimate(choice), measured

    estimate, measured = run_virtually(both())
    assert estimate == measured
