"""How swaps ended, by the promoter's ledger, and which commit is live since."""

from sqlmodel import select

from evidence.blobs import BlobError
from evidence.ledger import Ledger, LedgerBroken
from evidence.store import Store
from evolve import worktree
from evolve.candidate import Candidate
from evolve.errors import Broken
from evolve.service import Paths
from evolve.settings import Settings
from evolve.tables import CandidateRow
from promote.records import SwapRecord


def ended_swaps(settings: Settings) -> dict[str, SwapRecord]:
    """Every swap that has ended, by id, in the order of their ends. Raises Broken for a ledger that can't be read."""
    path = Paths(settings.home).promoter_ledger
    if not path.exists():
        return {}
    try:
        with Ledger(path, create=False) as ledger:
            entries = ledger.entries()
    except LedgerBroken as error:
        raise Broken(str(error)) from None
    records = [
        SwapRecord.model_validate(e.data["record"])
        for e in entries
        if e.kind == "swap" and "record" in e.data
    ]
    return {record.swap: record for record in records}


def live_commit(settings: Settings, store: Store) -> str:
    """The commit whose image is live: `main`, which only goes forward, or after a rollback the base of what it undid.

    Raises Broken when that can't be told.
    """
    main = worktree.head(settings.substrate_repository)
    undone = _undone(ended_swaps(settings))
    if undone is None:
        return main
    with store.read() as session:
        query = select(CandidateRow).where(CandidateRow.approval_digest == undone.approval_digest)
        row = session.exec(query).first()
    if row is None:
        return main
    try:
        return Candidate.model_validate_json(store.blobs.get(row.candidate_blob)).base_commit
    except BlobError as error:
        raise Broken(str(error)) from None


def _undone(records: dict[str, SwapRecord]) -> SwapRecord | None:
    """The last promotion that was committed, if a rollback came after it."""
    last, undone = None, False
    for record in records.values():
        if record.state == "committed":
            last, undone = record, False
        elif (record.kind, record.state) == ("rollback", "rolled_back"):
            undone = True
    return last if undone else None
