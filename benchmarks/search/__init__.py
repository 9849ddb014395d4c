"""What the search of workflows costs apart from the tools: graphs checked and varied a second, beside LangGraph's compiling
of the same graph, and what the memo of reads saves."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from random import Random

from benchmarks.engine import HERE, LANGGRAPH, python
from benchmarks.engine.shapes import Shape, scattered
from benchmarks.measure import Result, interleaved, median, ratio
from benchmarks.search.world import TOOLS, Shop, graph
from workflows.callers import Recorder
from workflows.calling import Caller
from workflows.check import MAX_NODES, check
from workflows.engine import run
from workflows.graph import OutputNode, Workflow
from workflows.searching.fitness import Fitness, Spending, grounding
from workflows.searching.search import search
from workflows.searching.terms import Found, Limits
from workflows.searching.untouched import Untouched
from workflows.searching.variation import vary

PEERS = {
    "langgraph": f"{LANGGRAPH}, `StateGraph.compile()` of the same graph, which was built before",
    "without the memo": "the same search, in which every candidate makes all of its calls",
}
SIZES: Mapping[str, int] = {"small": 6, "medium": 24, "largest": MAX_NODES - 1}
WANTED = ("fig at 9", "oil")
LIMITS = Limits(give_up_after=25)


def checking(shape: Shape, repeats: int) -> Callable[[], float]:
    """Graphs a second."""
    workflow = graph(shape)
    assert check(workflow, TOOLS) == ()

    def once() -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            check(workflow, TOOLS)
        return repeats / (time.perf_counter() - began)

    return once


def varying(shape: Shape, repeats: int) -> Callable[[], float]:
    """Offspring a second, each checked at least once."""
    workflow = graph(shape)

    def once() -> float:
        rng, began = Random(1), time.perf_counter()
        for _ in range(repeats):
            vary(workflow, TOOLS, [1, "tea"], rng)
        return repeats / (time.perf_counter() - began)

    return once


def compiling(shape: Shape, repeats: int) -> Callable[[], float]:
    """Graphs a second, in the peer's own process."""

    def once() -> float:
        words = [str(python()), str(HERE / "langgraph_side.py"), json.dumps(shape), str(repeats), "compile"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return 1e6 / (float(json.loads(done.stdout)["microseconds"]) * len(shape))

    return once


async def searched(memo: bool, seed: int) -> tuple[Found, int]:
    """What was found, and the calls that were made."""
    shop = Shop()
    shared = Untouched(shop, lambda tool: tool != "shop/order")

    async def evaluate(workflow: Workflow) -> Fitness:
        shop.orders, shared.touched = [], False
        inner: Caller = shared if memo else shop
        recorder = Recorder(inner)
        result = await run(workflow, {}, recorder)
        told = [
            part
            for part in WANTED
            if part in (result.text or "") and part in str([v for _, v in recorder.calls])
        ]
        errors = tuple((record.node, record.error or "") for record in result.failures)
        built = grounding(workflow, result)
        return Fitness(
            len(told) / len(WANTED), 1.0, built, len(recorder.calls), failures=errors, spent=Spending()
        )

    first = [Workflow("plan", "", (OutputNode(id="answer", text=""),))]
    found = await search(first, TOOLS, evaluate, seed=seed, limits=LIMITS, literals=["fig", "tea"])
    return found, shop.calls


def searching(memo: bool, seeds: int) -> Callable[[], float]:
    """Seconds."""

    def once() -> float:
        began = time.perf_counter()
        for seed in range(seeds):
            asyncio.run(searched(memo, seed))
        return time.perf_counter() - began

    return once


def measure(small: bool) -> Result:
    rounds, repeats, seeds = (1, 3, 1) if small else (7, 100, 5)
    python()
    found: Result = {"peers": PEERS, "unit": "graphs a second, medians"}
    for name, steps in SIZES.items():
        shape = scattered(steps)
        ways = {
            "checked": checking(shape, repeats),
            "offspring": varying(shape, max(3, repeats // 10)),
            "langgraph_compiled": compiling(shape, repeats),
        }
        figures = interleaved(ways, rounds, f"search: {name}")
        found[name] = {
            "steps": steps,
            **{way: median(values, 0) for way, values in figures.items()},
            "checked_to_langgraph": ratio(figures["checked"], figures["langgraph_compiled"]),
        }
    ways = {"with": searching(True, seeds), "without": searching(False, seeds)}
    seconds = interleaved(ways, max(1, rounds // 2), "search: memo")
    both = {memo: [asyncio.run(searched(memo, seed)) for seed in range(seeds)] for memo in (True, False)}
    found["memo"] = {
        "seconds_with": median(seconds["with"]),
        "seconds_without": median(seconds["without"]),
        "with_to_without": ratio(seconds["with"], seconds["without"]),
        "calls_with": sum(calls for _, calls in both[True]),
        "calls_without": sum(calls for _, calls in both[False]),
        "evaluated": sum(one.evaluated for one, _ in both[True]),
        "evaluations_saved": sum(one.saved for one, _ in both[True]),
        "complete": sum(one.best.fitness.complete for one, _ in both[True]),
        "same_course": [one.best.digest for one, _ in both[True]]
        == [one.best.digest for one, _ in both[False]],
    }
    return found
