"""At rest: nothing is open, and reality must equal the last known good. Level-wise, so looking again is
harmless."""

from evidence.canonical import new_id
from promote.live import epoch_of
from promote.parts import Parts
from promote.probe import ProbeFailed
from promote.records import Live


def settle(parts: Parts) -> None:
    """Exactly one writer, the right one, behind an open gate. Raises what a step raises; the caller tries
    again."""
    live = parts.journal.lkg()
    if live is None:
        return
    writers = parts.instances.writers()
    right = [w for w in writers if epoch_of(w) == live.epoch and w.digest == live.digest]
    if len(right) != 1 or len(writers) != 1:
        live = _bring_up(parts, live, adopt=len(right) == 1)
    status = parts.edge.status()
    if status.held or status.target != parts.instances.target(live):
        try:
            parts.wait_for(live)
        except ProbeFailed:
            parts.instances.fence(parts.timing.stop_grace, parts.timing.fence_seconds)
            raise
        parts.journal.reach("SETTLE.probed")
        parts.open_gate(live)
    parts.catch_up_checkpoint()


def _bring_up(parts: Parts, live: Live, adopt: bool) -> Live:
    parts.edge.hold()
    parts.journal.reach("SETTLE.held")
    parts.instances.fence(parts.timing.stop_grace, parts.timing.fence_seconds, keep=live if adopt else None)
    parts.journal.reach("SETTLE.fenced")
    if adopt:
        return live
    with parts.journal.ledger.transaction() as txn:
        live = live.model_copy(update={"epoch": parts.journal.next_epoch(txn), "boot_nonce": new_id()})
        parts.journal.row(txn, "", "SETTLE", "intent", live=live.model_dump(mode="json"))
        txn.set_pointer("lkg", live.model_dump(mode="json"))
    parts.journal.reach("SETTLE.intent")
    parts.instances.start(live)
    parts.journal.reach("SETTLE.started")
    return live
