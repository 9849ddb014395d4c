"""The approval that waits for its signatures: where it lies, who has signed it, how many must.

It lies in `$EVOLVE_HOME/approvals`, in a folder named by its digest, beside the bytes that it speaks of. Only the one
that the candidate's row names counts: a file that somebody dropped there is nobody's approval.
"""

import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError, computed_field

from containers.substrate import FILE_NAME, ManifestError, StateSchema, load_manifest
from evidence.canonical import canonical_json, utcnow
from evidence.ledger import write_durably
from evolve import worktree
from evolve.candidate import Candidate
from evolve.errors import Broken, EvolveError
from evolve.rollback_class import declared_class, in_words
from evolve.service import consent_policy
from evolve.settings import Settings
from evolve.substrate_facts import substrate_facts
from evolve.views import Record
from promote.approval import RollbackClass, SignedApproval
from promote.bundle import BundleRefused, capability_growth
from promote.policy import ConsentRefused, Need, approvers_needed

APPROVAL = "approval.json"


class Standing(Record):
    """How far a candidate's approval has come."""

    approval: str | None = None
    """Its digest; None: nobody has signed."""
    signed: tuple[str, ...] = ()
    needed: int = 1
    because: tuple[str, ...] = ()
    """What asks for more than the usual number."""
    rollback_class: RollbackClass | None = None
    """As it is approved; before the first signature as both images declare it. The promoter measures it before the swap.
    None: not known."""
    rollback: str = ""
    """What a rollback after the release does to what users wrote, in words."""
    void: str = ""
    """Why the signatures don't count any more; then it begins anew."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def complete(self) -> bool:
        return self.approval is not None and not self.void and len(self.signed) >= self.needed

    @property
    def sentence(self) -> str:
        why = f" ({', '.join(self.because)})" if self.because else ""
        return f"{len(self.signed)} of {self.needed} have signed{why}"


class Signed(Standing):
    """What somebody who signed is told."""

    candidate: str

    @classmethod
    def of(cls, candidate_id: str, found: Standing) -> "Signed":
        return cls(candidate=candidate_id, **found.model_dump(exclude={"complete"}))


def folder_of(settings: Settings, approval: str) -> Path:
    return settings.home / "approvals" / approval.removeprefix("sha256:")


def read(settings: Settings, approval: str) -> SignedApproval:
    """The named approval with its signatures. Raises Broken when it is gone, damaged, or another one lies there."""
    path = folder_of(settings, approval) / APPROVAL
    try:
        signed = SignedApproval.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise Broken(f"{path}: gone or damaged", hint="`evolve approve` begins anew") from None
    if signed.approval.digest != approval:
        raise Broken(f"{path}: not the approval that was signed", hint="`evolve approve` begins anew")
    return signed


def write(settings: Settings, signed: SignedApproval) -> None:
    write_durably(folder_of(settings, signed.approval.digest) / APPROVAL, canonical_json(signed))


def discard(settings: Settings, approval: str) -> None:
    shutil.rmtree(folder_of(settings, approval), ignore_errors=True)


def judge(settings: Settings, signed: SignedApproval) -> Standing:
    """What these signatures are worth now, by the same rules as the promoter's."""
    approval = signed.approval
    policy = consent_policy(settings)
    folder = folder_of(settings, approval.digest)
    schema_changes = approval.rollback_class == "forward_compatible"
    try:
        need = policy.need(approval, grows=capability_growth(folder), schema_changes=schema_changes)
        void = ""
    except BundleRefused as error:
        need, void = Need(policy.approvers_needed), str(error)
    try:
        policy.signers(signed)
    except ConsentRefused as error:
        void = str(error)
    if utcnow() > datetime.fromisoformat(approval.expires):
        void = f"it expired at {approval.expires}"
    elif approval.promoter_digest != policy.promoter_digest:
        void = "it is for another build of the promoter"
    elif (approval.policy == "solo") != policy.solo:
        void = "it was given under another policy"
    return Standing(
        approval=approval.digest,
        signed=tuple(signed.signatures),
        needed=need.approvers,
        because=need.because,
        rollback_class=approval.rollback_class,
        rollback=in_words(approval.rollback_class, approval.replays_inbox),
        void=void,
    )


def standing(settings: Settings, approval: str | None, candidate: Candidate | None) -> Standing:
    """For looking: before the first signature it says, from the sources, how many it will take."""
    if approval is not None:
        try:
            return judge(settings, read(settings, approval))
        except Broken as error:
            return Standing(approval=approval, needed=settings.consent.approvers_needed, void=error.message)
    least, unknown = settings.consent.approvers_needed, Standing(needed=settings.consent.approvers_needed)
    if candidate is None:
        return unknown
    facts = substrate_facts(settings.substrate_repository, candidate)
    try:
        before, after = state_schemas(settings, candidate)
    except (EvolveError, ManifestError):
        return unknown
    declared = declared_class(before, after)
    need = approvers_needed(
        least, grows=bool(facts.gained), schema_changes=before != after, lossy=declared == "lossy"
    )
    return Standing(
        needed=need.approvers,
        because=need.because,
        rollback_class=declared,
        rollback=in_words(declared, has_inbox(settings)),
    )


def has_inbox(settings: Settings) -> bool:
    return settings.inbox.port is not None


def state_schemas(settings: Settings, candidate: Candidate) -> tuple[StateSchema, StateSchema]:
    """Of the image that is live and of the candidate. Raises what `state_schema` does."""
    return state_schema(settings, candidate.base_commit), state_schema(settings, candidate.commit)


def state_schema(settings: Settings, commit: str) -> StateSchema:
    """What the service of a commit reads and writes. The promoter compares it with what the image says. Raises
    ManifestError."""
    files = worktree.read_files(settings.substrate_repository, commit, FILE_NAME)
    with tempfile.TemporaryDirectory(prefix="manifest-") as folder:
        (Path(folder) / FILE_NAME).write_bytes(files.get(FILE_NAME, b""))
        return load_manifest(Path(folder)).state_schema
