"""Runs as rows: made, watched, stopped. The database is the truth; a queue only hints that there is work."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sqlmodel import Session, col, select

from evidence import batch as batches
from evidence.batch import batch_row
from evidence.canonical import utcnow
from evidence.changes import note, publish
from evidence.store import Store
from evolve.budget import Spent
from evolve.errors import NeedsConsent, NotFound
from evolve.tables import CandidateRow, RunEventRow, RunRow, StageRow

OPEN_STATES = ("queued", "running", "stopping")


class Stopped(Exception):
    """Somebody asked this run to stop."""


def create_run(store: Store, run: RunRow) -> str:
    """Store a new run. Raises NeedsConsent when its batch is being evolved already."""
    with store.write() as session:
        _require_alone(session, run)
        session.add(run)
        session.flush()
        return run.id


def require_alone(store: Store, run: RunRow) -> None:
    """Raises NeedsConsent when another run evolves the same batch."""
    with store.read() as session:
        _require_alone(session, run)


def _require_alone(session: Session, run: RunRow) -> None:
    others = select(RunRow).where(
        RunRow.batch_id == run.batch_id, RunRow.id != run.id, col(RunRow.state).in_(OPEN_STATES)
    )
    busy = session.exec(others).first()
    if busy is not None:
        raise NeedsConsent(
            f"batch {run.batch_id} is being evolved by run {busy.id}",
            hint=f"`evolve run watch {busy.id}`, or stop it first",
        )


def get_run(session: Session, run_id: str) -> RunRow:
    """Raises NotFound."""
    row = session.get(RunRow, run_id)
    if row is None:
        raise NotFound(f"no run {run_id}", hint="`evolve run list` names them")
    return row


def get_candidate(session: Session, candidate_id: str) -> CandidateRow:
    """Raises NotFound."""
    row = session.get(CandidateRow, candidate_id)
    if row is None:
        raise NotFound(f"no candidate {candidate_id}", hint="`evolve candidate list` names them")
    return row


def set_state(store: Store, run_id: str, state: str, **values: object) -> None:
    """An end goes to the ledger as well, exactly once, whatever is killed in between."""
    with store.write() as session:
        row = get_run(session, run_id)
        row.state = state
        for name, value in values.items():
            setattr(row, name, value)
        if state not in OPEN_STATES:
            row.finished = utcnow()
            data = {"run": run_id, "state": state, "verdict": row.verdict or ""}
            note(session, "run.ended", run_id, "evolve", row.verdict_reason, data)
        session.add(row)
    publish(store)


def request_stop(store: Store, run_id: str) -> str:
    """Ask a run to stop; a queued one is stopped at once. Returns its new state."""
    with store.write() as session:
        row = get_run(session, run_id)
        if row.state == "running":
            row.state = "stopping"
        elif row.state == "queued":
            row.state = "stopped"
        session.add(row)
        state = row.state
    if state == "stopped":
        mark_stopped(store, run_id)
    return state


def mark_stopped(store: Store, run_id: str, reason: str = "was stopped", state: str = "stopped") -> None:
    """The run ends without a verdict: its batch is free again, for this run resumed or for another."""
    with store.read() as session:
        batch_id = get_run(session, run_id).batch_id
        evolving = batch_row(session, batch_id).state == "evolving"
    if evolving:
        batches.mark(store, batch_id, "sealed", reason=f"run {run_id}: {reason}"[:2000], who="evolve")
    set_state(store, run_id, state, verdict_reason="" if state == "stopped" else reason)


def raise_if_stopping(store: Store, run_id: str) -> None:
    with store.read() as session:
        if get_run(session, run_id).state == "stopping":
            raise Stopped(run_id)


def book(store: Store, stage_id: str, spent: Spent, **values: object) -> None:
    """Bring a stage and its run up to what the run has `spent` in all, and set the stage's `values`.

    What was spent since the last time is this stage's, whichever attempt spent it; so the stages of a run sum up to it.
    """
    with store.write() as session:
        stage = session.get_one(StageRow, stage_id)
        run = get_run(session, stage.run_id)
        for name, total in asdict(spent).items():
            setattr(stage, name, getattr(stage, name) + total - getattr(run, name))
            setattr(run, name, total)
        for name, value in values.items():
            setattr(stage, name, value)
        session.add_all((stage, run))


def tell(store: Store, run_id: str, stage: str, text: str, **data: object) -> None:
    """One line of progress for whoever watches."""
    with store.write() as session:
        session.add(RunEventRow(run_id=run_id, stage=stage, text=text, data=dict(data)))


def events_after(store: Store, run_id: str, after: int) -> list[RunEventRow]:
    with store.read() as session:
        query = select(RunEventRow).where(RunEventRow.run_id == run_id, col(RunEventRow.id) > after)
        return list(session.exec(query.order_by(col(RunEventRow.id))))


def stages_of(store: Store, run_id: str) -> list[StageRow]:
    with store.read() as session:
        query = select(StageRow).where(StageRow.run_id == run_id)
        return list(session.exec(query.order_by(col(StageRow.started))))


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """One process works on a run; the lock ends with the process. Raises NeedsConsent when another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NeedsConsent(
                f"run {folder.name} is being worked on by another process", hint="`evolve run watch`"
            ) from None
        yield
