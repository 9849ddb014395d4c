"""The peer's side, in its own environment: SHAPE REPEATS memory|durable|compile. Prints microseconds a step of a graph that
is compiled, or, with compile, that compiling it takes."""

import asyncio
import json
import operator
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    values: Annotated[dict[str, int], operator.or_]


def graph(shape: list[list[int]]) -> Any:
    found = StateGraph(State)
    followed = {other for needs in shape for other in needs}
    for index, needs in enumerate(shape):
        name = f"n{index}"

        async def step(state: State, name: str = name, needs: list[int] = needs) -> dict[str, dict[str, int]]:
            _ = [state["values"][f"n{other}"] for other in needs]
            return {"values": {name: 1}}

        found.add_node(name, step)
        if needs:
            found.add_edge([f"n{other}" for other in needs], name)
        else:
            found.add_edge(START, name)
        if index not in followed:
            found.add_edge(name, END)
    return found


async def main(shape: list[list[int]], repeats: int, mode: str) -> None:
    config: dict[str, Any] = {"recursion_limit": 10 * len(shape)}
    seconds = []
    if mode == "memory":
        ready = graph(shape).compile()
        for _ in range(repeats):
            began = time.perf_counter()
            await ready.ainvoke({"values": {}}, config)
            seconds.append(time.perf_counter() - began)
    elif mode == "compile":
        built = graph(shape)
        for _ in range(repeats):
            began = time.perf_counter()
            built.compile()
            seconds.append(time.perf_counter() - began)
    else:
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        for number in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                async with AsyncSqliteSaver.from_conn_string(str(Path(folder) / "state.db")) as saver:
                    ready = graph(shape).compile(checkpointer=saver)
                    began = time.perf_counter()
                    thread = {**config, "configurable": {"thread_id": str(number)}}
                    await ready.ainvoke({"values": {}}, thread, durability="sync")
                    seconds.append(time.perf_counter() - began)
    print(json.dumps({"microseconds": 1e6 * statistics.median(seconds) / len(shape)}))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
