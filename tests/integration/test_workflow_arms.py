"""The arms on the real servers: a planner that makes no mistakes gets all done in each; one that talks gets nothing done
where nobody listens to what it says."""

import asyncio
from collections.abc import Mapping

import httpx2
import pytest

from benchmarks.workflows import wire
from benchmarks.workflows.arena import Arena
from benchmarks.workflows.arms import ARMS, MOST_TRIES, MOST_TURNS, Measured, measure
from benchmarks.workflows.fit import ANSWERS, STEPS, of_plans, of_steps, rates_of, read, step_rates_of
from benchmarks.workflows.programs import NotInstalled
from benchmarks.workflows.slips import KINDS
from benchmarks.workflows.summary import summary
from benchmarks.workflows.tasks import draw_all
from benchmarks.workflows.weak_planner import RateTable, WeakPlanner
from workflows.model import ChatModel
from workflows.solving.solve import LIMITS

NEVER: Mapping[str, float] = dict.fromkeys(KINDS, 0.0)
SOME = 13
"""Tasks: every thirteenth."""
GUARD = 300


async def measured(rates: Mapping[str, float]) -> dict[str, list[Measured]]:
    tasks, found = draw_all(3)[::SOME], dict[str, list[Measured]]()
    async with asyncio.timeout(GUARD), Arena() as arena, httpx2.AsyncClient() as http:
        for name, arm in ARMS.items():
            with wire.served(WeakPlanner(tasks, RateTable.same(rates), 0).answer) as server:
                found[name] = [
                    await measure(arm, arena, task, ChatModel(http, server.url, "weak")) for task in tasks
                ]
    return found


def rows(rates: Mapping[str, float]) -> dict[str, list[Measured]]:
    try:
        return asyncio.run(measured(rates))
    except NotInstalled as missing:
        pytest.skip(str(missing))


def test_a_planner_without_mistakes_gets_all_done() -> None:
    found = rows(NEVER)
    for name in ARMS:
        assert [row.complaints for row in found[name] if not row.done] == []
        assert all(row.planner_tokens > 0 for row in found[name])
    assert {row.planner_calls for row in [*found["zero-shot"], *found["retry"]]} == {1}
    assert [row.tool_calls for row in found["zero-shot"]] == [row.tool_calls for row in found["react"]]


def test_a_planner_that_talks_is_asked_until_it_may_not_be_asked_again() -> None:
    found = rows({**NEVER, "prose": 1.0})
    limits = {"zero-shot": 1, "random edits": 1, "retry": MOST_TRIES + 1, "react": MOST_TURNS}
    for name, limit in limits.items():
        assert not any(row.done or row.tool_calls for row in found[name])
        assert {row.planner_calls for row in found[name]} == {limit}
    assert {row.planner_calls for row in found["repair"]} == {1}
    assert max(row.planner_calls for row in found["ours"]) == LIMITS.drafts
    assert any(row.done for row in found["ours"])


def test_after_an_error_a_second_plan_may_do_it() -> None:
    found = rows({**NEVER, "misnamed_argument": 0.4})
    first, again = summary(found["zero-shot"]), summary(found["retry"])
    assert first["completion"] < again["completion"]
    mended = summary(found["repair"])
    assert first["completion"] < mended["completion"]
    assert mended["planner_calls"]["p90"] == 1
    assert again["planner_calls"]["p90"] > 1
    low, high = again["completion_interval"]
    assert low <= again["completion"] <= high


async def fitted() -> tuple[dict[str, float], dict[str, float]]:
    async with asyncio.timeout(GUARD), Arena() as arena:
        found = [row for row in read(ANSWERS) if row["split"] == "tune" and not row["free"]]
        plan = rates_of(of_plans(found, arena))
        return plan, step_rates_of(plan, of_steps(read(STEPS), arena))


def test_the_frozen_rates_are_those_of_the_compact_models_answers() -> None:
    try:
        plan, step = asyncio.run(fitted())
    except NotInstalled as missing:
        pytest.skip(str(missing))
    frozen = RateTable.frozen()
    assert (frozen.plan, frozen.step) == (plan, step)
