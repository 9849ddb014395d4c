"""A batch's life: `open → sealed → evolving → ready → applied`, or `dismissed`.

Every change has a person or part and a reason.
"""

from typing import get_args

from sqlmodel import Session

from evidence.canonical import digest, utcnow
from evidence.cases import SealedBatch
from evidence.changes import note, publish
from evidence.records import BatchState
from evidence.store import NotFound, Store
from evidence.tables import BatchRow

TRANSITIONS: dict[str, frozenset[str]] = {
    "open": frozenset({"sealed", "dismissed"}),
    "sealed": frozenset({"evolving", "dismissed"}),
    "evolving": frozenset({"ready", "sealed"}),
    "ready": frozenset({"applied", "sealed"}),
    "applied": frozenset(),
    "dismissed": frozenset(),
}
"""Declined, expired, rolled back and unconverged all lead back to `sealed`, with the reason."""


class IllegalTransition(ValueError):
    """A batch can't go from its state to the wanted one."""


def batch_row(session: Session, batch_id: str) -> BatchRow:
    batch = session.get(BatchRow, batch_id)
    if batch is None:
        raise NotFound(f"no batch {batch_id}")
    return batch


def change_state(
    session: Session,
    batch: BatchRow,
    state: BatchState,
    *,
    reason: str,
    who: str,
    data: dict[str, object] | None = None,
) -> None:
    if state not in TRANSITIONS[batch.state]:
        raise IllegalTransition(f"batch {batch.id} is {batch.state} and can't become {state}")
    data = {"from": batch.state, "to": state, "fingerprint": batch.fingerprint, **(data or {})}
    note(session, f"batch.{state}", batch.id, who, reason, data)
    batch.state, batch.reason, batch.changed = state, reason, utcnow().isoformat()
    session.add(batch)


def mark(store: Store, batch_id: str, state: BatchState, *, reason: str, who: str, swap_id: str = "") -> None:
    """Move a batch on. Marking it what it is already changes nothing, so that a killed caller may repeat
    itself.

    `applied` wants the id of the swap that committed. Only `seal` takes a batch from open to sealed.
    """
    if state not in get_args(BatchState):
        raise IllegalTransition(f"{state!r} is no state of a batch")
    with store.write() as session:
        batch = batch_row(session, batch_id)
        if batch.state == state:
            return
        if batch.state == "open" and state == "sealed":
            raise IllegalTransition(f"batch {batch_id} is open: only sealing freezes its cases")
        if state == "applied" and not swap_id:
            raise IllegalTransition("a batch is applied by a committed swap only; its id is missing")
        change_state(
            session, batch, state, reason=reason, who=who, data={"swap": swap_id} if swap_id else None
        )
    publish(store)


def dismiss(store: Store, batch_id: str, *, reason: str, who: str) -> None:
    """Nobody wants this fixed. Later failures of its group are counted with it and open no batch."""
    mark(store, batch_id, "dismissed", reason=reason, who=who)


def tag(store: Store, batch_id: str, *, reason: str, who: str) -> None:
    """An operator vouches for the batch: it may seal by itself although few principals saw the failure."""
    with store.write() as session:
        batch = batch_row(session, batch_id)
        batch.tagged_by = who
        session.add(batch)
        note(session, "batch.tagged", batch_id, who, reason)
    publish(store)


def load_sealed(store: Store, batch_id: str) -> SealedBatch:
    """The frozen batch, checked against its hash."""
    with store.read() as session:
        batch = batch_row(session, batch_id)
        sealed = batch.sealed_digest
    if not sealed:
        raise NotFound(f"batch {batch_id} was never sealed")
    loaded = SealedBatch.model_validate_json(store.blobs.get(sealed))
    if digest(loaded) != sealed:
        raise NotFound(f"batch {batch_id} does not read back as it was sealed")
    return loaded
