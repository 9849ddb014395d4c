"""From a request to ACCEPTED or REJECTED: every hash recomputed, every condition in the nonce's
transaction."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from containers.runtime import RuntimeBroken
from containers.substrate import ManifestError, StateSchema
from evidence.canonical import canonical_json, new_id, utcnow
from evidence.ledger import AlreadyUsed, write_durably
from promote.approval import Approval, SignedApproval
from promote.attest import AttestationRefused, Attestor
from promote.bundle import BundleRefused, capability_growth, check, take_in, verdict
from promote.journal import Journal
from promote.live import Instances
from promote.policy import ConsentPolicy, ConsentRefused
from promote.records import Live, OpenSwap, Previous, Rollback, SwapRecord

NONCES = "approval"


class Rejected(Exception):
    """The request ends here; production was not touched. One line says why."""


@dataclass
class Intake:
    """Takes approvals in, one at a time."""

    journal: Journal
    instances: Instances
    policy: Callable[[], ConsentPolicy]
    """Asked anew each time: who lost a role since the start has lost it here too. Raises ConsentRefused."""
    bundles: Path
    attestor: Attestor
    has_inbox: bool = False

    def __post_init__(self) -> None:
        self._one = threading.Lock()

    def submit(self, signed: SignedApproval, bundle: Path) -> OpenSwap:
        """Raises Rejected; the ledger then has a row that says so."""
        swap = new_id()
        with self._one:
            self.journal.reach("REQUESTED.before")
            self._row(swap, signed.approval, "REQUESTED")
            self.journal.reach("REQUESTED.done")
            try:
                return self._accept(swap, signed, bundle)
            except (
                Rejected,
                BundleRefused,
                AttestationRefused,
                ConsentRefused,
                AlreadyUsed,
                RuntimeBroken,
                ManifestError,
                OSError,
            ) as error:
                self._reject(swap, signed.approval, str(error))
                raise Rejected(str(error)) from None

    def _accept(self, swap: str, signed: SignedApproval, bundle: Path) -> OpenSwap:
        approval = signed.approval
        if self.journal.ledger.used(NONCES, approval.nonce):
            raise Rejected("the approval was used before")
        if self.journal.open() is not None:
            raise Rejected("another swap is open")
        folder = self._folder(approval.digest)
        shutil.rmtree(folder, ignore_errors=True)
        take_in(bundle, folder)
        write_durably(folder / "approval.json", canonical_json(signed))
        self.journal.reach("REQUESTED.held")
        self._judge(signed, folder)
        return self._open(swap, signed, folder)

    def _judge(self, signed: SignedApproval, folder: Path) -> None:
        approval = signed.approval
        check(folder, approval)
        said = StateSchema(reads=approval.schema_reads, writes=approval.schema_writes)
        if self.instances.manifest(approval.target_image).state_schema != said:
            raise Rejected("the image's state schema is not the one that was approved")
        if approval.replays_inbox and not self.has_inbox:
            raise Rejected("the approval counts on an inbox, and there is none; approve again")
        base = self.instances.manifest(approval.base_image).state_schema
        self.policy().check(
            signed,
            verdict=verdict(folder),
            grows=capability_growth(
                folder, self.instances.gained(approval.base_image, approval.target_image)
            ),
            schema_changes=base != said,
        )

    def _open(self, swap: str, signed: SignedApproval, folder: Path) -> OpenSwap:
        approval = signed.approval
        self.journal.reach("ACCEPTED.before")
        with self.journal.ledger.transaction() as txn:
            if txn.pointer("open") is not None:
                raise Rejected("another swap is open")
            live = txn.pointer("lkg")
            base = None if live is None else Live.model_validate(live)
            if base is None or base.digest != approval.base_image:
                raise Rejected(
                    "the approval's base is no longer live; it was given for another state of the world"
                )
            if approval.target_image == base.digest:
                raise Rejected("this image is live already")
            txn.use_once(NONCES, approval.nonce)
            opened = OpenSwap(
                swap=swap,
                kind="promotion",
                state="ACCEPTED",
                base=base,
                target=approval.target_image,
                approval=approval.digest,
                who=approval.approver,
                reason=approval.reason,
                started=utcnow().isoformat(timespec="milliseconds"),
                bake_seconds=approval.bake_seconds,
                bake_turns=approval.bake_turns,
                approved_class=approval.rollback_class,
            )
            shown = approval.model_dump(mode="json")
            envelope = self.attestor.attest(swap, signed, folder, self.policy().keys_of(signed))
            self.journal.row(
                txn,
                swap,
                "ACCEPTED",
                "done",
                approval.approver,
                approval.reason,
                approval=shown,
                policy=approval.policy,
                provenance=envelope,
            )
            txn.set_pointer("open", opened.model_dump(mode="json"))
            self.journal.reach("ACCEPTED.within")
        self.journal.reach("ACCEPTED.done")
        return opened

    def recheck(self, opened: OpenSwap) -> None:
        """The same questions to the bytes that were held since ACCEPT; the base must still be live, and the envelope
        that was signed then must say the same."""
        if opened.approval is None:
            return
        folder = self._folder(opened.approval)
        try:
            signed = SignedApproval.model_validate_json((folder / "approval.json").read_bytes())
        except (OSError, ValidationError):
            raise BundleRefused("the held approval is gone or damaged") from None
        if signed.approval.digest != opened.approval:
            raise BundleRefused("the held approval is not the one that was accepted")
        self._judge(signed, folder)
        live = self.journal.lkg()
        if live is None or live.digest != signed.approval.base_image:
            raise ConsentRefused("the approval's base is no longer live")
        self.attestor.check(opened.swap, signed, folder, self.policy().keys_of(signed))

    def ask_rollback(
        self, who: str, reason: str, swap: str | None = None, discard_writes: bool = False
    ) -> OpenSwap:
        """Back to the previous good image, or out of the swap that is open. `swap`: the one that is meant; None for
        whichever it is. Raises Rejected."""
        with self._one, self.journal.ledger.transaction() as txn:
            value = txn.pointer("open")
            _require_meant(swap, value, txn.pointer("previous"))
            opened = (
                self._begin(txn.pointer("lkg"), txn.pointer("previous"), who, reason)
                if value is None
                else (self._turn_back(OpenSwap.model_validate(value), who, reason, discard_writes))
            )
            self.journal.row(txn, opened.swap, "RB_ASKED", "done", who, reason)
            txn.set_pointer("open", opened.model_dump(mode="json"))
        return opened

    def _turn_back(self, opened: OpenSwap, who: str, reason: str, discard_writes: bool) -> OpenSwap:
        if opened.rollback is not None and opened.quarantined is None:
            raise Rejected("a rollback is under way")
        generation = opened.base.generation if discard_writes else None
        rollback = Rollback(reason=reason, who=who, generation=generation)
        return opened.model_copy(update={"rollback": rollback, "quarantined": None})

    def _begin(
        self, lkg: dict[str, object] | None, previous: dict[str, object] | None, who: str, reason: str
    ) -> OpenSwap:
        if lkg is None or previous is None:
            raise Rejected("there is no previous image to return to")
        live, before = Live.model_validate(lkg), Previous.model_validate(previous)
        return OpenSwap(
            swap=new_id(),
            kind="rollback",
            state="RB_ASKED",
            base=before.live,
            target=before.digest,
            who=who,
            reason=reason,
            started=utcnow().isoformat(timespec="milliseconds"),
            generation=live.generation,
            candidate=live,
            released=True,
            approved_class=before.approved_class,
            inbox_mark=before.inbox_mark,
            rollback=Rollback(reason=reason, who=who),
        )

    def _row(self, swap: str, approval: Approval, state: str) -> None:
        with self.journal.ledger.transaction() as txn:
            self.journal.row(
                txn, swap, state, "done", approval.approver, approval.reason, approval_digest=approval.digest
            )

    def _reject(self, swap: str, approval: Approval, why: str) -> None:
        now = utcnow().isoformat(timespec="milliseconds")
        record = SwapRecord(
            swap=swap,
            kind="promotion",
            state="rejected",
            reason=why,
            approval_digest=approval.digest,
            base_image=approval.base_image,
            target_image=approval.target_image,
            live_image=None,
            generation=None,
            epoch=None,
            rollback_class=None,
            held_ms=0.0,
            bake_turns=0,
            bake_failures=0,
            attempts=0,
            started=now,
            ended=now,
            who=approval.approver,
        )
        with self.journal.ledger.transaction() as txn:
            shown = record.model_dump(mode="json")
            self.journal.row(txn, swap, "REJECTED", "done", approval.approver, why, record=shown)

    def _folder(self, approval_digest: str) -> Path:
        return self.bundles / approval_digest.removeprefix("sha256:")


def _require_meant(
    swap: str | None, opened: dict[str, object] | None, previous: dict[str, object] | None
) -> None:
    """The world may have moved since a person looked at it."""
    newest = opened or previous
    if swap is None or newest is None:
        return
    meant = newest.get("swap") or swap  # a pointer of an older promoter does not say
    if meant != swap:
        raise Rejected(f"swap {swap} is not the one that can be rolled back: that is swap {meant}")
