"""What the promoter remembers: which instance is meant to be live, which swap is open, how a swap ended.

All of it lives in the ledger: `lkg`, `previous` and `open` are its pointers, a SwapRecord is the data of a
swap's last row.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from evidence.canonical import digest
from promote.approval import RollbackClass

EndState = Literal["committed", "rolled_back", "rejected", "closed", "quarantined"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Live(_Frozen):
    """One instance by identity: image, generation, epoch, and the nonce of this very start."""

    digest: str
    generation: int
    epoch: int
    boot_nonce: str = ""


class Previous(Live):
    """What was live before, and what is known of the way back to it."""

    swap: str = ""
    """The one that replaced it."""
    approved_class: RollbackClass = "same"
    inbox_mark: int | None = None

    @property
    def live(self) -> Live:
        return Live.model_validate(self.model_dump(include=set(Live.model_fields)))


class Kept(_Frozen):
    """A generation that a rollback left behind with users' writes in it, kept for repair."""

    generation: int
    until: float
    """Seconds since 1970."""


class Baseline(_Frozen):
    """How the outgoing instance did on its last turns."""

    turns: int = 0
    failures: int = 0
    p95_ms: float = 0.0


class Rollback(_Frozen):
    """Why we go back and what was chosen, once."""

    reason: str
    who: str = "promoter"
    attempts: int = 0
    generation: int | None = None
    live: Live | None = None
    replayed: int | None = None
    """Turns that the inbox was told to have answered anew."""
    fell_back: bool = False
    """A rollback asked for by a person could not be done; the instance that was live comes back."""


class OpenSwap(_Frozen):
    """The swap under way. Only its journal writes it."""

    swap: str
    kind: Literal["promotion", "rollback"]
    state: str
    base: Live
    """What we return to."""
    target: str
    approval: str | None = None
    who: str = ""
    reason: str = ""
    started: str
    bake_seconds: float = 0.0
    bake_turns: int = 0
    approved_class: RollbackClass = "same"
    measured_class: RollbackClass | None = None
    attempts: int = 0
    baseline: Baseline = Baseline()
    generation: int | None = None
    candidate: Live | None = None
    released: bool = False
    held_ms: float = 0.0
    inbox_mark: int | None = None
    """The first turn of the inbox that `base` may not have answered; None: there is no inbox."""
    rollback: Rollback | None = None
    quarantined: str | None = None


class SwapRecord(_Frozen):
    """How a swap ended. Published as docs/schemas/swap_record.schema.json."""

    v: Literal[1] = 1
    swap: str
    kind: Literal["promotion", "rollback"]
    state: EndState
    reason: str
    approval_digest: str | None
    base_image: str
    target_image: str
    live_image: str | None
    generation: int | None
    epoch: int | None
    rollback_class: RollbackClass | None
    held_ms: float
    bake_turns: int
    bake_failures: int
    attempts: int
    started: str
    ended: str
    who: str
    kept_generation: int | None = None
    """Holds what users wrote since the release and the live image can't read; kept for repair."""
    replayed: int | None = None
    """Turns of the inbox that are answered anew, for the live image's state does not have them; None: no inbox."""

    @property
    def digest(self) -> str:
        return digest(self)
