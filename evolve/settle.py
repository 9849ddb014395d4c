"""After a swap ended: the candidate, its batch and the substrate's `main` follow what the promoter's ledger says.

The ledger is the truth; everything here can be killed and done again.
"""

import fcntl

from sqlmodel import col, select

from evidence import batch as batches
from evolve import runs, worktree
from evolve.candidate import Candidate
from evolve.product import Product
from evolve.swaps import ended_swaps
from evolve.tables import CandidateRow
from promote.records import SwapRecord


def settle(product: Product) -> list[str]:
    """Bring every candidate whose swap ended up to date; returns the ids that changed. One process at a time: the
    others wait, and find it done."""
    with (product.settings.home / "settle.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _settle(product)


def _settle(product: Product) -> list[str]:
    with product.store.read() as session:
        waiting = select(CandidateRow).where(
            CandidateRow.state == "approved", col(CandidateRow.approval_digest).is_not(None)
        )
        rows = list(session.exec(waiting))
    if not rows:
        return []
    records = ended_swaps(product.settings)
    # Whoever handed an approval over may have been killed before the swap's id was written down. One that was rejected
    # changed nothing: it is for people to decide again.
    begun = [r for r in records.values() if r.kind == "promotion" and r.state != "rejected"]
    approved = {record.approval_digest: record for record in begun}
    changed = []
    for row in rows:
        record = records.get(row.swap_id) if row.swap_id else approved.get(row.approval_digest)
        if record is not None:
            _follow(product, row, record)
            changed.append(row.id)
    return changed


def _follow(product: Product, row: CandidateRow, record: SwapRecord) -> None:
    committed = record.state == "committed"
    if committed:
        _move_main(product, row, record)
        batches.mark(
            product.store,
            row.batch_id,
            "applied",
            reason=f"swap {record.swap} committed",
            who="promoter",
            swap_id=record.swap,
        )
    else:
        reason = f"swap {record.swap} {record.state}: {record.reason}"
        batches.mark(product.store, row.batch_id, "sealed", reason=reason[:2000], who="promoter")
    with product.store.write() as session:
        fresh = runs.get_candidate(session, row.id)
        fresh.swap_id, fresh.state = record.swap, "committed" if committed else "rolled_back"
        session.add(fresh)
    product.ledger.append(
        "swap.ended",
        {"swap": record.swap, "state": record.state, "candidate": row.id, "record": record.digest},
        who="promoter",
        reason=record.reason,
    )


def _move_main(product: Product, row: CandidateRow, record: SwapRecord) -> None:
    candidate = Candidate.model_validate_json(product.store.blobs.get(row.candidate_blob))
    files = ", ".join(candidate.files[:3]) + (" …" if len(candidate.files) > 3 else "")
    worktree.commit_promotion(
        product.settings.substrate_repository,
        row.commit,
        f"Promote candidate {row.id}: {files}",
        {
            "Run": row.run_id,
            "Batch": row.batch_id,
            "Report": row.report_blob or "",
            "Approval": record.approval_digest or "",
            "Swap": record.swap,
        },
    )
