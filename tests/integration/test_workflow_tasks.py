"""Every benchmark task is a fair one on the real servers: its oracle passes, and nothing less does."""

import asyncio

import pytest

from benchmarks.workflows.admission import refusals
from benchmarks.workflows.arena import Arena
from benchmarks.workflows.programs import NotInstalled
from benchmarks.workflows.tasks import draw_all

SEED = 5
GUARD = 300
"""Seconds until a test that hangs fails."""


async def admitted() -> tuple[int, dict[str, list[str]]]:
    async with asyncio.timeout(GUARD), Arena() as arena:
        return len(arena.catalog), {task.id: await refusals(arena, task) for task in draw_all(SEED)}


def test_oracles_pass_and_nothing_less_does() -> None:
    try:
        tools, found = asyncio.run(admitted())
    except NotInstalled as missing:
        pytest.skip(str(missing))
    assert tools >= 50
    assert len(found) >= 60
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
