"""A run's context over a batch of the tiny substrate, so that a stage can be asked by itself: the store, the arena, the
sandboxes and the graders are real."""

from collections.abc import Iterator
from contextlib import contextmanager

from trial_batch import World

from containers.runtime import ImageRef
from containers.substrate import load_manifest
from evidence.ledger import Ledger
from evidence.store import Store
from evidence.tables import BatchRow
from evolve import runs
from evolve.books import Books
from evolve.budget import Budget
from evolve.candidate import Candidate
from evolve.context import RunContext
from evolve.migrations import upgrade
from evolve.settings import Settings
from evolve.stages.models import Built
from evolve.tables import CandidateRow, RunRow, StageRow

SEED = 7


@contextmanager
def run_over(world: World) -> Iterator[RunContext]:
    """A running run of the world's batch; each call starts with an empty store."""
    world.built += 1
    settings = Settings(home=world.home / f"run-{world.built}")
    settings.home.mkdir()
    upgrade(settings.sql_url)
    with (
        Ledger(settings.home / "ledger.db") as ledger,
        Store(settings.sql_url, settings.home / "blobs", journal=ledger) as store,
    ):
        batch = world.batch
        with store.write() as session:
            session.add(
                BatchRow(id=batch.id, fingerprint="f", title="t", state="evolving", at="2026", changed="2026")
            )
        asked = RunRow(
            batch_id=batch.id, batch_digest=batch.digest, requester="ana", reason="x", coder="mend", seed=SEED
        )
        run_id, budget = runs.create_run(store, asked), Budget(settings.run)
        stage = StageRow(run_id=run_id, iteration=0, name="by itself", input_digest="")
        books = Books(store, budget, lambda: world.arena.spent)
        books.open(stage.id)
        with store.write() as session:
            session.add(stage)
        yield RunContext(
            settings=settings,
            store=store,
            runtime=world.runtime,
            arena=world.arena,
            graders=world.graders,
            coders={},
            manifest=load_manifest(world.home / "tree-0"),
            batch=batch,
            run_id=run_id,
            seed=SEED,
            budget=budget,
            books=books,
        )


def built(context: RunContext, name: str, image: ImageRef, lines: int = 2) -> Built:
    """The image as a candidate of the run."""
    candidate = Candidate(
        id=name,
        run_id=context.run_id,
        batch_digest=context.batch.digest,
        base_commit="c",
        base_image=context.batch.baseline_digest,
        commit=name,
        image=image.digest,
        diff_sha256=name,
        files=("service/turns.py",),
        lines_added=lines,
        lines_removed=0,
        coder="mend",
        seed=context.seed,
    )
    row = CandidateRow(
        id=name,
        run_id=context.run_id,
        batch_id=context.batch.id,
        iteration=1,
        proposal=1,
        commit=name,
        image=image.digest,
        digest=candidate.digest,
        diff_blob="",
        candidate_blob="",
    )
    with context.store.write() as session:
        session.add(row)
    return Built(candidate=candidate)
