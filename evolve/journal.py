"""What both ledgers tell, never touched: every entry, and each swap step by step."""

from datetime import datetime
from pathlib import Path
from typing import get_args

from evidence.ledger import KEY_USED, POINTER_SET, Entry, Ledger, LedgerBroken
from evolve.errors import Broken, NotFound
from evolve.rollback_class import in_words
from evolve.settings import Settings
from evolve.views import Record, aware
from promote.records import EndState

PRODUCT_LEDGER = Path("ledger.db")
PROMOTER_LEDGER = Path("promote") / "ledger.db"


class HistoryEntry(Record):
    ledger: str
    """`product` or `promoter`: each counts its own entries."""
    seq: int
    at: datetime
    kind: str
    who: str
    reason: str
    data: dict[str, object]
    hash: str


class SwapStep(Record):
    """One state of a swap: written before the deed, and again when it was seen to be done."""

    seq: int
    state: str
    at: datetime
    done: datetime | None
    """None: under way, or the process died in it."""
    who: str
    reason: str
    detail: dict[str, object]

    @property
    def seconds(self) -> float | None:
        return (self.done - self.at).total_seconds() if self.done else None


class SwapView(Record):
    id: str
    state: str
    steps: tuple[SwapStep, ...]

    @property
    def ended(self) -> bool:
        return self.state.lower() in SWAP_ENDS

    @property
    def record(self) -> dict[str, object]:
        """How it ended, in the promoter's words; empty while it is under way."""
        found = self.steps[-1].detail.get("record")
        return found if isinstance(found, dict) else {}

    @property
    def rollback_class(self) -> str:
        """As it was approved; empty for what nobody approved."""
        return str(self._approval.get("rollback_class", ""))

    @property
    def rollback(self) -> str:
        """What going back does to what users wrote, in words."""
        replays = bool(self._approval.get("replays_inbox"))
        return in_words("lossy" if self.rollback_class == "lossy" else "same", replays)

    @property
    def _approval(self) -> dict[str, object]:
        found = (step.detail.get("approval") for step in self.steps)
        return next((approval for approval in found if isinstance(approval, dict)), {})

    @property
    def reason(self) -> str:
        return next((step.reason for step in reversed(self.steps) if step.reason), "")


SWAP_ENDS = get_args(EndState)


def history(
    settings: Settings, limit: int = 200, *, offset: int = 0, mechanical: bool = False, steps: bool = True
) -> tuple[HistoryEntry, ...]:
    """What both ledgers hold, newest first; a ledger that was never written has no entries. `mechanical` adds
    the rows by which a ledger keeps its own pointers and single-use keys; without `steps` a swap has its
    beginning and end alone, and what people did."""
    entries: list[HistoryEntry] = []
    for name, path in (("product", PRODUCT_LEDGER), ("promoter", PROMOTER_LEDGER)):
        kept = [
            entry
            for entry in _entries(settings.home / path)
            if (mechanical or entry.kind not in (POINTER_SET, KEY_USED)) and (steps or not _is_step(entry))
        ]
        entries += [_history_entry(name, entry) for entry in kept[-(offset + limit) :]]
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.seq), reverse=True)[offset:][:limit])


def _is_step(entry: Entry) -> bool:
    return entry.kind == "swap" and not entry.who and str(entry.data.get("state")).lower() not in SWAP_ENDS


def list_swaps(settings: Settings, *, limit: int | None = None, offset: int = 0) -> tuple[SwapView, ...]:
    """Swaps that the promoter ever journaled, newest first."""
    found: dict[str, list[Entry]] = {}
    for entry in _entries(settings.home / PROMOTER_LEDGER):
        if swap_id := entry.data.get("swap"):
            found.setdefault(str(swap_id), []).append(entry)
    views = [_swap(swap_id, entries) for swap_id, entries in found.items()]
    return tuple(sorted(views, key=lambda view: view.steps[0].seq, reverse=True)[offset:][:limit])


def get_swap(settings: Settings, swap_id: str) -> SwapView:
    """A swap step by step, as the promoter journaled it."""
    for view in list_swaps(settings):
        if view.id == swap_id:
            return view
    raise NotFound(f"no swap {swap_id}", hint="`evolve audit tail` shows the ledger")


def _history_entry(name: str, entry: Entry) -> HistoryEntry:
    return HistoryEntry(
        ledger=name,
        seq=entry.seq,
        at=aware(datetime.fromisoformat(entry.ts)),
        kind=entry.kind,
        who=entry.who,
        reason=entry.reason,
        data=dict(entry.data),
        hash=entry.hash,
    )


def _swap(swap_id: str, entries: list[Entry]) -> SwapView:
    steps: list[SwapStep] = []
    for entry in entries:
        step = _step(entry)
        last = steps[-1] if steps else None
        if last and last.done is None and last.state == step.state and step.done is not None:
            merged = {"done": step.done, "who": step.who or last.who, "reason": step.reason or last.reason}
            steps[-1] = last.model_copy(update={**merged, "detail": {**last.detail, **step.detail}})
        else:
            steps.append(step)
    return SwapView(id=swap_id, state=steps[-1].state, steps=tuple(steps))


def _step(entry: Entry) -> SwapStep:
    shown = {
        key: value for key, value in entry.data.items() if key not in ("swap", "state", "phase", "boot_id")
    }
    at = aware(datetime.fromisoformat(entry.ts))
    return SwapStep(
        seq=entry.seq,
        state=str(entry.data.get("state") or entry.kind),
        at=at,
        done=None if entry.data.get("phase") == "intent" else at,
        who=entry.who or str(entry.data.get("who") or ""),
        reason=entry.reason or str(entry.data.get("reason") or ""),
        detail=shown,
    )


def _entries(path: Path) -> list[Entry]:
    if not path.exists():
        return []
    try:
        with Ledger(path, create=False) as ledger:
            return ledger.entries()
    except (LedgerBroken, ValueError) as error:
        raise Broken(f"ledger {path}: {error}", hint="`evolve audit verify` says what is wrong") from None
