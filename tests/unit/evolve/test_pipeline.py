"""Stages and runs as rows: done is never done again, one run a batch, an end is told once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel

from evidence.ledger import Ledger
from evidence.store import Store
from evidence.tables import BatchRow
from evolve import jobs, runs
from evolve.books import Books
from evolve.budget import Budget, OutOfBudget
from evolve.context import RunContext
from evolve.errors import NeedsConsent
from evolve.migrations import upgrade
from evolve.settings import Settings
from evolve.stage import Place, stage
from evolve.tables import RunRow
from trial.gateway.meter import Cost


class Words(BaseModel):
    text: str


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    upgrade(settings.sql_url)
    with (
        Ledger(settings.home / "ledger.db") as ledger,
        Store(settings.sql_url, settings.home / "blobs", journal=ledger) as made,
    ):
        with made.write() as session:
            session.add(
                BatchRow(
                    id="b",
                    fingerprint="f",
                    title="t",
                    state="evolving",
                    at="2026-01-01",
                    changed="2026-01-01",
                )
            )
        yield made


def new_run(store: Store, **values: Any) -> str:
    given = {
        "batch_id": "b",
        "batch_digest": "d",
        "requester": "ana",
        "reason": "x",
        "coder": "mend",
        "seed": 1,
    }
    return runs.create_run(store, RunRow(**{**given, **values}))


@pytest.fixture
def context(store: Store, settings: Settings) -> RunContext:
    """Only what `stage` itself touches: store, budget, the arena's meter."""
    nothing = cast(Any, None)
    arena = SimpleNamespace(spent=Cost(micro_usd=7, tokens=3))
    budget = Budget(settings.run)
    return RunContext(
        settings=settings,
        store=store,
        runtime=nothing,
        arena=cast(Any, arena),
        graders=nothing,
        coders=nothing,
        manifest=nothing,
        batch=nothing,
        run_id=new_run(store),
        seed=1,
        budget=budget,
        books=Books(store, budget, lambda: arena.spent),
    )


def work(context: RunContext, given: str, answer: str, calls: list[str]) -> str:
    def run(_: RunContext) -> Words:
        calls.append(answer)
        context.budget.trials += 2
        return Words(text=answer)

    return stage(context, Place(1, 1), "plan", Words(text=given), run, Words).text


def test_a_done_stage_answers_from_what_was_stored(context: RunContext) -> None:
    calls: list[str] = []
    assert work(context, "in", "first", calls) == "first"
    assert work(context, "in", "second", calls) == "first"
    assert calls == ["first"]
    [row] = runs.stages_of(context.store, context.run_id)
    assert (row.state, row.attempts, row.trials) == ("done", 1, 2)
    with context.store.read() as session:
        run = runs.get_run(session, context.run_id)
    assert (run.trials, run.usd_micros, run.tokens) == (2, 7, 3)


def test_another_input_or_a_killed_attempt_is_done_again(context: RunContext) -> None:
    calls: list[str] = []
    work(context, "in", "first", calls)
    assert work(context, "other", "second", calls) == "second"

    def dies(_: RunContext) -> Words:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(context, Place(1, 1), "plan", Words(text="third"), dies, Words)
    [row] = runs.stages_of(context.store, context.run_id)
    assert (row.state, row.output_blob, row.attempts) == ("started", None, 3)
    assert work(context, "third", "third", calls) == "third"


def test_a_stop_or_a_spent_budget_is_noticed_before_a_stage(context: RunContext) -> None:
    calls: list[str] = []
    spent = replace(context, budget=Budget(context.settings.run, seconds_before=1e9))
    with pytest.raises(OutOfBudget):
        work(spent, "in", "x", calls)
    runs.set_state(context.store, context.run_id, "running")
    assert runs.request_stop(context.store, context.run_id) == "stopping"
    with pytest.raises(runs.Stopped):
        work(context, "in", "x", calls)
    assert calls == []


def test_one_open_run_a_batch(store: Store) -> None:
    first = new_run(store)
    with pytest.raises(NeedsConsent, match=first):
        new_run(store)
    assert runs.request_stop(store, first) == "stopped"
    new_run(store)


def test_an_end_is_told_once_and_frees_the_batch(store: Store, settings: Settings) -> None:
    run = new_run(store)
    runs.request_stop(store, run)
    with Ledger(settings.home / "ledger.db", create=False) as ledger:
        entries = ledger.entries()
    assert [(e.kind, e.data["state"]) for e in entries if e.kind == "run.ended"] == [("run.ended", "stopped")]
    with store.read() as session:
        batch = session.get(BatchRow, "b")
        assert batch is not None
        assert batch.state == "sealed"


def test_the_queue_is_filled_from_the_database(store: Store, settings: Settings) -> None:
    detached = new_run(store, options={"detached": True})
    new_run(store, batch_id="c")
    assert jobs.waiting(store, settings) == [detached]
    with runs.run_lock(settings.home / "runs" / detached):
        assert jobs.waiting(store, settings) == []  # somebody works on it
        with pytest.raises(NeedsConsent), runs.run_lock(settings.home / "runs" / detached):
            pass
    runs.set_state(store, detached, "running")
    assert jobs.waiting(store, settings) == [detached]  # its worker died
    runs.set_state(store, detached, "finished")
    assert jobs.waiting(store, settings) == []
