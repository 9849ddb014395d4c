"""`python -m benchmarks.compiling [--small]`: how far the estimates of `evolve workflow compile` are from what is measured,
and what is missed by measuring a few configurations instead of all.

A workflow with three parallel calls of the real mcp-server-time, a map of questions, a branch and two more questions, on
eight cases. The models are functions that sleep and that err on a share of the questions which depends on the model. All
configurations are measured once; the estimates are made from profiles of single steps, as compiling makes them, and beside
them stands the plain sum of the steps' times, which knows no structure.
"""

import asyncio
import hashlib
import json
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, median, say
from workflows.calling import ModelRequest, Outcome
from workflows.codec import from_json
from workflows.pareto.bench import Bench
from workflows.pareto.compiling import compile_points
from workflows.pareto.estimate import spent, summary
from workflows.pareto.front import beats
from workflows.pareto.meter import Answered, Budget
from workflows.pareto.profile import Profile
from workflows.pareto.space import Choice, Configurations, Space, read_configurations
from workflows.points import Estimate
from workflows.servers import Servers
from workflows.servers.file import read_servers
from workflows.verify import Case, Verify

TIME = {"command": str(Path(sys.executable).with_name("mcp-server-time"))}
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/Lima")
SECONDS, ERRS = {"small": 0.02, "middle": 0.05, "large": 0.11}, {"small": 20, "middle": 8, "large": 0}
"""Per question; of 100 questions."""
CASES = 8


def workflow() -> dict[str, Any]:
    zones = [
        {
            "id": f"zone{index}",
            "kind": "tool",
            "tool": "time/convert_time",
            "arguments": {
                "source_timezone": {"value": "UTC"},
                "time": {"ref": "inputs.time"},
                "target_timezone": {"value": zone},
            },
        }
        for index, zone in enumerate(ZONES)
    ]
    when = {
        "left": {"ref": "zone1.target.day_of_week"},
        "op": "eq",
        "right": {"ref": "zone1.source.day_of_week"},
    }
    texts = [{"ref": f"zone{index}.target.datetime"} for index in range(3)]
    return {
        "v": 1,
        "name": "meeting",
        "description": "",
        "inputs": {"time": {"type": "string"}},
        "nodes": [
            *zones,
            {"id": "times", "kind": "merge", "mode": "list", "sources": texts},
            {
                "id": "parts",
                "kind": "map",
                "over": {"ref": "times"},
                "each": {
                    "prompt": "part of the day: {t}",
                    "values": {"t": {"ref": "item"}},
                    "model": "small",
                },
                "limit": 3,
            },
            {"id": "same_day", "kind": "branch", "arms": [{"name": "yes", "when": when}], "otherwise": "no"},
            asks("briefly", "same_day.yes"),
            asks("at_length", "same_day.no"),
            {"id": "said", "kind": "merge", "sources": [{"ref": "briefly"}, {"ref": "at_length"}]},
            {"id": "out", "kind": "output", "text": "{said}", "values": {"said": {"ref": "said"}}},
        ],
    }


def asks(name: str, when: str) -> dict[str, Any]:
    values = {"time": {"ref": "inputs.time"}, "parts": {"ref": "parts"}}
    prompt = f"{name} at {{time}}: {{parts}}"
    return {"id": name, "kind": "model", "prompt": prompt, "values": values, "model": "small", "when": when}


def configurations() -> Configurations:
    others = {name: {"model": name} for name in ("middle", "large")}
    return read_configurations(
        {
            "steps": {
                "zone0": {"paid": {"tool": "paid/convert_time"}},
                "parts": others,
                "briefly": others,
                "at_length": others,
            },
            "prices": {
                "models": {
                    "small": {"input": 150, "output": 600},
                    "middle": {"input": 800, "output": 3200},
                    "large": {"input": 3000, "output": 12000},
                },
                "tools": {"paid/convert_time": 20},
            },
        }
    )


def cases() -> list[Case]:
    return [Case(Verify(("right",)), {"time": f"{hour:02}:30"}) for hour in range(0, 24, 24 // CASES)]


async def ask(request: ModelRequest) -> Answered:
    """Right, unless it errs on this question, or was handed an error."""
    model = request.model or "small"
    await asyncio.sleep(SECONDS[model])
    luck = hashlib.sha256(request.prompt.encode()).digest()[0] * 100 // 256
    right = luck >= ERRS[model] and "wrong" not in request.prompt
    text = "right" if right else "wrong"
    return Answered(Outcome(text), len(request.prompt) // 4, len(text) // 4)


@asynccontextmanager
async def benches(space: Space) -> AsyncIterator[Callable[[], Bench]]:
    file = read_servers({"mcpServers": {"time": TIME, "paid": TIME}}, Path.cwd() / "servers.json", {})
    async with Servers(file) as servers:
        await servers.catalog()
        yield lambda: Bench(cases(), servers.caller(), space.configurations.prices, Budget(), ask)


async def measured(choices: list[Choice], bench: Bench, space: Space) -> dict[Choice, Estimate]:
    found = {}
    for number, choice in enumerate(choices):
        runs = await bench.measure(space.configured(choice))
        found[choice] = summary([not one.complaints for one in runs], [spent(one) for one in runs])
        if number % 10 == 9:
            say(f"compiling: {number + 1} of {len(choices)} configurations measured")
    return found


async def profiled(bench: Bench, space: Space) -> Profile:
    profile = Profile(space, bench.slots)
    profile.runs[space.own] = await bench.measure(space.workflow)
    profile.anchors.append(space.own)
    for step, choice in space.one_changes(space.own):
        profile.runs[choice] = await bench.profile(space.configured(choice), step)
    return profile


def plain_sum(profile: Profile, space: Space, choice: Choice) -> float:
    """Milliseconds at the median, if every call of every step came after the one before."""
    own = space.own
    ways = {
        step: profile.runs[(*own[:index], choice[index], *own[index + 1 :])]
        for index, step in enumerate(space.steps)
    }
    runs = [ways.get(node.id, profile.runs[own]) for node in space.workflow.nodes]
    names = [node.id for node in space.workflow.nodes]
    sums = [
        sum(made.seconds for name, run in zip(names, runs, strict=True) for made in run[case].of(name))
        for case in range(CASES)
    ]
    return 1000 * statistics.median(sums)


def off(pairs: Sequence[tuple[float, float]]) -> Result:
    """Of estimates and what was measured: shares, without their sign."""
    shares = sorted(abs(one - other) / other for one, other in pairs)
    return {"median": median(shares, 3), "p90": round(shares[int(0.9 * (len(shares) - 1))], 3)}


def missed(found: Sequence[tuple[float, float]], truth: Sequence[tuple[float, float]]) -> Result:
    """Of pairs of errors and cost: how much of the true front the set has, or what is as good but for a micro-USD."""
    front = [one for one in set(truth) if not any(beats(other, one) for other in truth)]
    reached = [one for one in front if any(errs <= one[0] and cost <= one[1] + 1 for errs, cost in found)]
    return {"on_the_true_front": len(front), "found": len(reached)}


async def compared(small: bool) -> Result:
    space = Space(from_json(workflow()), configurations())
    every = list(product(*(space.names(step) for step in space.steps)))
    async with benches(space) as bench:
        profile = await profiled(bench(), space)
        truth = await measured(every[:: 9 if small else 1], bench(), space)
        one = bench()
        began = one.budget.clock()
        compiled = await compile_points(space, one, most=4 if small else 12, seed=0)
        seconds = one.budget.clock() - began
    pairs = [
        (estimate, truth[choice]) for choice in truth if (estimate := profile.estimate(choice)) is not None
    ]
    kept = compiled.set_of(space).points
    return {
        "configurations": space.size,
        "measured_for_comparison": len(truth),
        "latency_p50_off_by": off([(a.latency_ms.p50, b.latency_ms.p50) for a, b in pairs]),
        "latency_p90_off_by": off([(a.latency_ms.p90, b.latency_ms.p90) for a, b in pairs]),
        "plain_sum_off_by": off([(plain_sum(profile, space, c), truth[c].latency_ms.p50) for c in truth]),
        "cost_off_by": off([(a.cost_micro_usd, b.cost_micro_usd) for a, b in pairs]),
        "accuracy_exact": sum(abs(a.accuracy - b.accuracy) < 1e-9 for a, b in pairs),
        "compiled": {
            "measured": len(compiled.measured),
            "points": len(kept),
            "tool_calls": one.budget.tool_calls,
            "tokens": one.budget.tokens,
            "seconds": round(seconds, 1),
            **missed(
                [(1 - point.accuracy.value, point.cost_micro_usd) for point in kept],
                [(1 - found.accuracy, found.cost_micro_usd) for found in truth.values()],
            ),
        },
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(compared("--small" in sys.argv)), indent=2))
