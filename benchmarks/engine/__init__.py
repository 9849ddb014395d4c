"""What the workflow engine itself costs a step, beside LangGraph and bare asyncio tasks, on the same graphs of steps
that do nothing."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.engine.shapes import SHAPES, Shape
from benchmarks.measure import Result, interleaved, median, ratio, say
from workflows.calling import ModelRequest, Outcome, ToolRequest
from workflows.compiled import compiled
from workflows.engine import run
from workflows.graph import Literal, OutputNode, Ref, ToolNode, Workflow
from workflows.journal import Journal

LANGGRAPH, CHECKPOINTER = "langgraph==1.2.24", "langgraph-checkpoint-sqlite"
HERE = Path(__file__).parent
PEERS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "evolve/peers/langgraph-1.2.24"


class Nothing:
    """A caller whose tools answer at once."""

    async def tool(self, request: ToolRequest) -> Outcome:
        return Outcome(1)

    async def model(self, request: ModelRequest) -> Outcome:
        return Outcome("")

    def repeatable(self, tool: str) -> bool:
        return False


def as_workflow(shape: Shape) -> Workflow:
    nodes = [
        ToolNode(
            id=f"n{index}",
            tool="s/t",
            arguments={f"a{place}": Ref(f"n{other}") for place, other in enumerate(needs)}
            or {"a": Literal(1)},
        )
        for index, needs in enumerate(shape)
    ]
    return Workflow(
        "bench", "", (*nodes, OutputNode(id="out", text="", values={"x": Ref(f"n{len(shape) - 1}")}))
    )


def ours(shape: Shape, durable: bool) -> Callable[[], float]:
    """Microseconds a step of one run."""
    workflow = as_workflow(shape)
    ready = compiled(workflow)

    def once() -> float:
        began = time.perf_counter()
        asyncio.run(run(ready, {}, Nothing(), limit=len(shape)))
        return 1e6 * (time.perf_counter() - began) / len(shape)

    def written() -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            with Journal(Nothing(), Path(folder) / "journal", workflow, {}) as journal:
                asyncio.run(run(ready, {}, journal, limit=len(shape)))
            return 1e6 * (time.perf_counter() - began) / len(shape)

    return written if durable else once


def bare(shape: Shape) -> Callable[[], float]:
    """A task a step, which waits for the tasks of those that it needs."""

    async def all_of_them() -> None:
        caller, tasks = Nothing(), list[asyncio.Task[object]]()

        async def step(needs: Sequence[int]) -> object:
            values = [await tasks[other] for other in needs]
            return (await caller.tool(ToolRequest("n", "", 1, "s/t", {"a": values}))).value

        for needs in shape:
            tasks.append(asyncio.create_task(step(needs)))
        await asyncio.gather(*tasks)

    def once() -> float:
        began = time.perf_counter()
        asyncio.run(all_of_them())
        return 1e6 * (time.perf_counter() - began) / len(shape)

    return once


def langgraph(name: str, durable: bool, repeats: int) -> Callable[[], float]:
    """In a process of its own environment: the median over some runs of a graph that is compiled before."""

    def once() -> float:
        words = [str(python()), str(HERE / "langgraph_side.py"), json.dumps(SHAPES[name]), str(repeats)]
        done = subprocess.run(
            [*words, "durable" if durable else "memory"], capture_output=True, text=True, check=True
        )
        return float(json.loads(done.stdout)["microseconds"])

    return once


def python() -> Path:
    """Of the peer's environment, which is made when it is missing."""
    found = PEERS / "bin/python"
    if not found.exists():
        say(f"engine: installing {LANGGRAPH} into {PEERS}")
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([str(found), *quiet, LANGGRAPH, CHECKPOINTER], check=True)
    return found


def memory(shape: Shape) -> int:
    """Bytes a step that one run holds at its end, with its compiled form."""
    import tracemalloc

    workflow = as_workflow(shape)
    tracemalloc.start()
    try:
        ready = compiled(workflow)
        result = asyncio.run(run(ready, {}, Nothing(), limit=len(shape)))
        return int(tracemalloc.get_traced_memory()[0] / len(result.records))
    finally:
        tracemalloc.stop()


def measure(small: bool) -> Result:
    rounds, repeats = (1, 1) if small else (7, 5)
    python()
    found: Result = {"peers": f"{LANGGRAPH}; bare asyncio tasks", "unit": "microseconds a step, medians"}
    for name, shape in SHAPES.items():
        ways: Mapping[str, Callable[[], float]] = {
            "ours": ours(shape, False),
            "asyncio": bare(shape),
            "langgraph": langgraph(name, False, repeats),
        }
        figures = interleaved(ways, rounds, f"engine: {name}")
        found[name] = {
            "steps": len(shape),
            **{way: median(values) for way, values in figures.items()},
            "ours_to_langgraph": ratio(figures["ours"], figures["langgraph"]),
            "ours_to_asyncio": ratio(figures["ours"], figures["asyncio"]),
            "bytes_a_step": memory(shape),
        }
    chain = "chain"
    durable = interleaved(
        {"ours": ours(SHAPES[chain], True), "langgraph": langgraph(chain, True, repeats)},
        rounds,
        "engine: durable",
    )
    found["durable_chain"] = {
        **{way: median(values) for way, values in durable.items()},
        "ours_to_langgraph": ratio(durable["ours"], durable["langgraph"]),
    }
    return found
