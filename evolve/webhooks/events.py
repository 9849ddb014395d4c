"""From a ledger's entry to what a webhook says. Ids and digests alone: words are read on the page, by who may."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session, col, select

from evidence.canonical import digest
from evidence.ledger import Entry
from evolve.settings import WebhookEvent
from evolve.tables import CandidateRow, RunRow

_SWAPS: Mapping[str, WebhookEvent] = {
    "committed": "swap.committed",
    "rolled_back": "swap.rolled_back",
    "quarantined": "swap.quarantined",
}


@dataclass(frozen=True)
class Event:
    type: WebhookEvent
    at: str
    """ISO 8601: when the ledger heard of it."""
    key: str
    """The same for the same transition, however often it is read, and in whichever entry."""
    data: Mapping[str, object]

    def message_id(self, url: str) -> str:
        """The receiver's idempotency key."""
        return "msg_" + digest([url, self.key]).rpartition(":")[2][:32]

    def body(self) -> dict[str, object]:
        return {"type": self.type, "timestamp": self.at, "data": dict(self.data)}


def event_of(session: Session, entry: Entry) -> Event | None:
    """None: nothing that anyone is told of."""
    if entry.kind == "batch.ready":
        return Event("batch.ready", entry.ts, _change(entry), {"batch": entry.data.get("subject")})
    if entry.kind == "run.ended" and entry.data.get("verdict") == "converged":
        run = session.get(RunRow, str(entry.data.get("run")))
        row = session.get(CandidateRow, run.candidate_id) if run and run.candidate_id else None
        return Event("candidate.ready", entry.ts, _change(entry), _candidate(row)) if row else None
    record = entry.data.get("record")
    if (
        entry.kind == "swap"
        and isinstance(record, Mapping)
        and (kind := _SWAPS.get(str(record.get("state"))))
    ):
        return Event(kind, entry.ts, entry.hash, _swap(session, record))
    return None


def _change(entry: Entry) -> str:
    """An entry that a crash wrote twice names the same change."""
    return str(entry.data.get("change") or entry.hash)


def _swap(session: Session, record: Mapping[str, object]) -> dict[str, object]:
    found = select(CandidateRow).where(col(CandidateRow.swap_id) == str(record.get("swap")))
    row = session.exec(found).first()
    told = {name: record.get(name) for name in ("swap", "kind", "target_image", "live_image")}
    return {**told, "record": digest(dict(record)), "candidate": row.id if row else None}


def _candidate(row: CandidateRow) -> dict[str, object]:
    return {
        "candidate": row.id,
        "batch": row.batch_id,
        "run": row.run_id,
        "image": row.image,
        "commit": row.commit,
    }
