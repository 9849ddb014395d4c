"""Intent before the deed, done after it, and the pointers in the same transaction as the row that moves
them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from evidence.canonical import new_id, utcnow
from evidence.ledger import Entry, Ledger, Transaction
from promote.records import EndState, Kept, Live, OpenSwap, Previous, SwapRecord

ROW = "swap"


class Overtaken(Exception):
    """A person asked for a rollback while this step was under way."""


class Journal:
    """The promoter's only way to write its ledger."""

    def __init__(self, ledger: Ledger, reach: Callable[[str], None]) -> None:
        self.ledger = ledger
        self.reach = reach
        self.boot_id = new_id()

    def open(self) -> OpenSwap | None:
        value = self.ledger.pointer("open")
        return None if value is None else OpenSwap.model_validate(value)

    def lkg(self) -> Live | None:
        return _live(self.ledger.pointer("lkg"))

    def previous(self) -> Previous | None:
        value = self.ledger.pointer("previous")
        return None if value is None else Previous.model_validate(value)

    def kept(self) -> tuple[Kept, ...]:
        """Generations that are kept for repair; the time of some may be over."""
        return kept_in(self.ledger.pointer("kept"))

    def row(
        self,
        txn: Transaction,
        swap: str,
        state: str,
        phase: str,
        who: str = "",
        reason: str = "",
        **data: object,
    ) -> Entry:
        content = {"swap": swap, "state": state, "phase": phase, "boot_id": self.boot_id, **data}
        return txn.append(ROW, content, who=who, reason=reason)

    def note(self, state: str, phase: str, /, rolling_back: bool = False, **changes: object) -> OpenSwap:
        """One row, and the open swap changed with it. Raises Overtaken when a rollback was asked for
        meanwhile."""
        with self.ledger.transaction() as txn:
            current = OpenSwap.model_validate(txn.pointer("open"))
            if current.rollback is not None and not rolling_back:
                raise Overtaken(current.rollback.reason)
            changed = OpenSwap.model_validate({**dict(current), "state": state, **changes})
            shown = {key: value for key, value in changed.model_dump(mode="json").items() if key in changes}
            self.row(txn, current.swap, state, phase, **shown)
            txn.set_pointer("open", changed.model_dump(mode="json"))
        return changed

    def step(
        self,
        state: str,
        effect: Callable[[OpenSwap], Mapping[str, object] | None],
        /,
        rolling_back: bool = False,
        **intent: object,
    ) -> OpenSwap:
        """Write the intent, do it, write that it is done with what it found. `effect` must bear repeating."""
        self.reach(f"{state}.before")
        opened = self.note(state, "intent", rolling_back=rolling_back, **intent)
        self.reach(f"{state}.intent")
        found = effect(opened) or {}
        self.reach(f"{state}.effect")
        opened = self.note(state, "done", rolling_back=rolling_back, **found)
        self.reach(f"{state}.done")
        return opened

    def next_epoch(self, txn: Transaction) -> int:
        """Raise the fencing number. Never reused, not even by an attempt that failed."""
        last = txn.pointer("epoch") or {"value": 0}
        epoch = int(str(last["value"])) + 1
        txn.set_pointer("epoch", {"value": epoch})
        return epoch

    def raised_epoch(self) -> int:
        with self.ledger.transaction() as txn:
            return self.next_epoch(txn)


def record_of(
    opened: OpenSwap, state: EndState, reason: str, live: Live | None, turns: int = 0, failures: int = 0
) -> SwapRecord:
    """The frozen end of a swap."""
    return SwapRecord(
        swap=opened.swap,
        kind=opened.kind,
        state=state,
        reason=reason,
        approval_digest=opened.approval,
        base_image=opened.base.digest,
        target_image=opened.target,
        live_image=live.digest if live else None,
        generation=live.generation if live else None,
        epoch=live.epoch if live else None,
        rollback_class=opened.measured_class,
        held_ms=opened.held_ms,
        bake_turns=turns,
        bake_failures=failures,
        attempts=opened.attempts,
        started=opened.started,
        ended=utcnow().isoformat(timespec="milliseconds"),
        who=opened.who,
        kept_generation=abandoned(opened, live),
        replayed=opened.rollback.replayed if opened.rollback else None,
    )


def abandoned(opened: OpenSwap, live: Live | None) -> int | None:
    """The generation with users' writes that an end with `live` leaves behind."""
    if not opened.released or opened.candidate is None or live is None:
        return None
    newest = opened.candidate.generation
    return newest if newest != live.generation else None


def kept_in(pointer: Mapping[str, object] | None) -> tuple[Kept, ...]:
    items = pointer["generations"] if pointer is not None else []
    assert isinstance(items, list)
    return tuple(Kept.model_validate(item) for item in items)


def checkpoint_of(folder: Path) -> int:
    """Size of the ledger at its newest checkpoint, 0 without one."""
    return max((int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()), default=0)


def _live(value: dict[str, object] | None) -> Live | None:
    return None if value is None else Live.model_validate(value)
