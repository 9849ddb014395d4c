"""What waits for somebody, and what is under way: the first thing to look at."""

from evidence.records import BatchRecord
from evidence.store import Store
from evolve import journal, views
from evolve.journal import SwapView
from evolve.settings import Settings
from evolve.views import CandidateSummary, Record, RunSummary

RECENT = 5


class Waiting(Record):
    candidates: tuple[CandidateSummary, ...]
    """They wait for a decision."""
    swaps: tuple[SwapView, ...]
    """Under way."""
    runs: tuple[RunSummary, ...]
    """Under way."""
    recent: tuple[RunSummary, ...]
    """Runs that ended lately."""
    batches: tuple[BatchRecord, ...]
    """Open and sealed ones."""


def what_waits(settings: Settings, store: Store) -> Waiting:
    runs = views.list_runs(store.read)
    return Waiting(
        candidates=views.list_candidates(store.read, state="ready"),
        swaps=tuple(swap for swap in journal.list_swaps(settings) if not swap.ended),
        runs=tuple(run for run in runs if run.active),
        recent=tuple(run for run in runs if not run.active)[:RECENT],
        batches=tuple(batch for batch in views.list_batches(store) if batch.state in ("open", "sealed")),
    )
