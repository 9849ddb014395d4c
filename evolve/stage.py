"""One stage: a function from stored input to stored output.

A stage whose row is `done` for the same input is never run again, so a run may be killed anywhere and started again; an
unfinished stage starts from scratch and nothing that it left behind is read as an answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from evidence.canonical import canonical_json, digest, utcnow
from evolve import runs
from evolve.context import RunContext
from evolve.tables import RunRow, StageRow

Out = TypeVar("Out", bound=BaseModel)


@dataclass(frozen=True)
class Place:
    """Where in a run: the pass (0: before the first), the proposal in it (0: of them all), the round within it."""

    iteration: int = 0
    proposal: int = 0
    round: int = 0

    def __str__(self) -> str:
        """As a name of a folder."""
        return f"{self.iteration}-{self.proposal}-{self.round}"

    @property
    def words(self) -> str:
        """For people; empty before the first pass."""
        named = (
            ("pass", self.iteration),
            ("proposal", self.proposal),
            ("round", self.round and self.round + 1),
        )
        return ", ".join(f"{name} {number}" for name, number in named if number)


def stage(
    context: RunContext,
    place: Place,
    name: str,
    given: BaseModel,
    run: Callable[[RunContext], Out],
    out: type[Out],
    shared: bool = False,
    candidate: str | None = None,
) -> Out:
    """Run one stage unless its stored output answers the same input already. `shared`: another run's output on this
    sealed batch will do; never for what a verdict rests on. `candidate`: whom it is about, where `place` does not say it.
    """
    runs.raise_if_stopping(context.store, context.run_id)
    context.budget.check()
    row, stored = _begin(context, place, name, digest(given), shared, candidate)
    if stored is not None:
        return out.model_validate_json(context.store.blobs.get(stored))
    context.books.open(row)
    blob = None
    try:
        result = run(context)
        blob = context.store.blobs.put(canonical_json(result))
        context.kill_point(f"{name}:stored")
    finally:
        context.books.close(blob)
    context.kill_point(f"{name}:done")
    return result


def _row(context: RunContext, place: Place, name: str) -> SelectOfScalar[StageRow]:
    return select(StageRow).where(
        StageRow.run_id == context.run_id,
        StageRow.iteration == place.iteration,
        StageRow.proposal == place.proposal,
        StageRow.round == place.round,
        StageRow.name == name,
    )


def _of_other_runs(context: RunContext, name: str, input_digest: str) -> SelectOfScalar[StageRow]:
    return (
        select(StageRow)
        .join(RunRow, col(RunRow.id) == StageRow.run_id)
        .where(RunRow.batch_digest == context.batch.digest, RunRow.seed == context.seed)
        .where(StageRow.name == name, StageRow.state == "done", StageRow.input_digest == input_digest)
    )


def _begin(
    context: RunContext, place: Place, name: str, input_digest: str, shared: bool, candidate: str | None
) -> tuple[str, str | None]:
    """The stage's row, and the output that is there already."""
    with context.store.write() as session:
        row = session.exec(_row(context, place, name)).first()
        if row is not None and row.state == "done" and row.input_digest == input_digest:
            return row.id, row.output_blob
        if row is None:
            row = StageRow(
                run_id=context.run_id,
                iteration=place.iteration,
                proposal=place.proposal,
                round=place.round,
                name=name,
                input_digest=input_digest,
            )
        else:
            row.attempts += 1
            row.state, row.input_digest, row.output_blob = "started", input_digest, None
            row.started, row.finished, row.progress = utcnow(), None, None
        row.candidate_id = candidate
        if shared and (known := session.exec(_of_other_runs(context, name, input_digest)).first()):
            row.state, row.output_blob, row.finished = "done", known.output_blob, utcnow()
        session.add(row)
        begun, stored = row.id, row.output_blob
    if stored is None:
        context.say(name, f"{place.words}: {name}" if place.words else name)
        context.kill_point(f"{name}:begun")
    return begun, stored
