"""Keypoints are locked before anything is proposed: their hash goes to the ledger once, and nothing else is scored by."""

from evidence.canonical import digest
from evidence.changes import first_note, note, publish
from evidence.store import Store
from evolve.judge.models import Keypoints

KIND = "run.keypoints"


def lock(store: Store, run_id: str, keypoints: Keypoints) -> bool:
    """Lock a run's keypoints, or say whether they are those that were locked."""
    mine = {"run": run_id, "keypoints": digest(keypoints)}
    with store.write() as session:
        locked = first_note(session, KIND, run_id)
        if locked is None:
            note(session, KIND, run_id, "evolve", f"fixed by {keypoints.coder} at the baseline", mine)
            locked = mine
    publish(store)
    return locked == mine
