"""What the page needs of consent: a few calls, made elsewhere, handed in. The page holds no key and can sign
nothing."""

from dataclasses import dataclass
from typing import Protocol

from evolve.signatures import Standing


class Approve(Protocol):
    def __call__(
        self,
        candidate_id: str,
        *,
        person: str,
        passphrase: str,
        reason: str,
        confirm_digest: str | None,
        accept_lossy: bool,
    ) -> Standing:
        """Sign exactly these bytes as `person`; returns how far the approval has come. `accept_lossy`: the person agrees
        that a rollback may lose what users wrote. Raises `evolve.errors`."""
        ...


class Decline(Protocol):
    def __call__(self, candidate_id: str, *, person: str, reason: str) -> None:
        """Record the refusal. Raises `evolve.errors`."""
        ...


class CheckPassphrase(Protocol):
    def __call__(self, person: str, passphrase: str) -> bool:
        """Whether the passphrase unlocks the person's key. May take as long as its key derivation takes."""
        ...


class RollBack(Protocol):
    def __call__(self, *, person: str, reason: str, swap: str) -> str:
        """Undo this very swap, by the word of `person`; returns the id of the swap that does. Raises `evolve.errors`, also
        when another has become the last one."""
        ...


@dataclass(frozen=True)
class Consent:
    approve: Approve
    decline: Decline
    check_passphrase: CheckPassphrase
    roll_back: RollBack
