"""A person's decision: put the bytes together, unlock the person's key for this one approval, sign, hand to the promoter.

No key stays unlocked, no process but the person's own command (or the page's request that carries the passphrase) ever
holds one.
"""

import os
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence import batch as batches
from evidence.canonical import digest, new_id, utcnow
from evidence.cases import SealedBatch
from evolve import runs, signatures, worktree
from evolve.candidate import Candidate
from evolve.errors import BadInput, Broken, EvolveError, NeedsConsent, Refused
from evolve.home import key_path
from evolve.product import Product
from evolve.rollback_class import declared_class
from evolve.service import consent_policy, tell_promoter
from evolve.settings import ConsentSection, load_settings
from evolve.signatures import Standing
from evolve.substrate_facts import substrate_facts
from evolve.tables import CandidateRow
from promote.approval import Approval, SignedApproval
from promote.bundle import write_bundle
from promote.keys import KeyRefused, sign, sign_as, unlock
from promote.policy import LIFETIME, MAY_APPROVE, ConsentRefused
from promote.promoter import promoter_digest
from trial.report import TrialReport

LAST_HEX = 8


def check_passphrase(product: Product, person: str, passphrase: str) -> bool:
    """Whether the passphrase unlocks the person's key; the key is forgotten at once."""
    if person not in _consent(product).people:
        return False
    try:
        unlock(key_path(product.settings, person), passphrase)
    except KeyRefused:
        return False
    return True


def approve(
    product: Product,
    candidate_id: str,
    *,
    person: str,
    passphrase: str,
    reason: str,
    confirm_digest: str | None = None,
    accept_lossy: bool = False,
) -> Standing:
    """Sign exactly this candidate's bytes: a new approval, or the one that waits for another signature.

    `confirm_digest`: the last 8 hex digits of the image, typed by the person. `accept_lossy`: this person agrees that a
    rollback may leave behind what users wrote since the release; an approval that waits and does not say so begins anew.
    Of two who sign at the same time, both count or one is refused and may try again. Raises BadInput, Refused,
    NeedsConsent.
    """
    if not reason.strip():
        raise BadInput("an approval needs a reason")
    _require_role(product, person)
    with product.store.read() as session:
        row = runs.get_candidate(session, candidate_id)
        run = runs.get_run(session, row.run_id)
    if row.state not in ("ready", "approved"):
        raise Refused(f"candidate {candidate_id} is {row.state}: only a converged one can be approved")
    if run.requester == person and _consent(product).policy != "solo":
        raise NeedsConsent(
            f"{person} asked for this run and may not approve it", hint="another approver must decide"
        )
    if confirm_digest is not None and confirm_digest.lower() != row.image[-LAST_HEX:]:
        raise BadInput(f"the typed digits are not the last {LAST_HEX} of this candidate's image")
    try:
        key = unlock(key_path(product.settings, person), passphrase)
    except KeyRefused as error:
        raise NeedsConsent(str(error)) from None
    _require_no_swap(row)
    waiting = _waiting(product, row)
    if waiting is not None and (waiting.rollback_class == "lossy" or not accept_lossy):
        _require_room(row, waiting, person)
        if waiting.rollback_class == "lossy" and not accept_lossy:
            raise _needs_lossy("the approval that waits is lossy")
        return _sign(product, row, person, reason, key, None)
    begun = _begin(product, row, run.requester, person, reason, key, accept_lossy)
    try:
        found = _sign(product, row, person, reason, key, begun)
    except BaseException:
        signatures.discard(product.settings, begun.approval.digest)
        raise
    if row.approval_digest is not None:
        signatures.discard(product.settings, row.approval_digest)
    return found


def decline(product: Product, candidate_id: str, *, person: str, reason: str) -> None:
    """Refuse a candidate; signatures that it has are void, its batch goes back to `sealed` with the reason."""
    if not reason.strip():
        raise BadInput("declining needs a reason")
    _require_role(product, person)
    with product.store.write() as session:
        row = runs.get_candidate(session, candidate_id)
        if row.state not in ("ready", "approved"):
            raise Refused(f"candidate {candidate_id} is {row.state}: nothing waits for a decision")
        _require_no_swap(row)
        waiting, batch_id = row.approval_digest, row.batch_id
        row.state, row.decided_by, row.decided_reason, row.approval_digest = "declined", person, reason, None
        session.add(row)
    if waiting is not None:
        signatures.discard(product.settings, waiting)
    batches.mark(product.store, batch_id, "sealed", reason=f"declined: {reason}", who=person)
    product.ledger.append("candidate.declined", {"candidate": candidate_id}, who=person, reason=reason)


def approve_and_promote(
    product: Product,
    candidate_id: str,
    *,
    person: str,
    passphrase: str,
    reason: str,
    confirm_digest: str | None,
    accept_lossy: bool = False,
) -> Standing:
    """What the page's button does: sign, then hand in at once when that was the last signature needed."""
    signed = approve(
        product,
        candidate_id,
        person=person,
        passphrase=passphrase,
        reason=reason,
        confirm_digest=confirm_digest,
        accept_lossy=accept_lossy,
    )
    if signed.complete:
        try:
            promote(product, candidate_id)
        except EvolveError as error:
            raise type(error)(f"signed, but not handed in: {error.message}", hint=error.hint) from None
    return signed


def promote(product: Product, candidate_id: str) -> str:
    """Hand the signed approval to the promoter; returns the swap's id. Raises NeedsConsent while signatures are missing,
    Refused with the promoter's reason."""
    with product.store.read() as session:
        row = runs.get_candidate(session, candidate_id)
    if row.approval_digest is None:
        raise NeedsConsent(
            f"candidate {row.id} is {row.state}: nobody has approved it",
            hint=f"`evolve approve {row.id} --reason …`",
        )
    settings = load_settings(product.settings.home)
    signed = signatures.read(settings, row.approval_digest)
    try:
        consent_policy(settings).signers(signed)
    except ConsentRefused as error:
        raise Refused(f"the approval does not hold: {error}") from None
    found = signatures.judge(settings, signed)
    if len(found.signed) < found.needed:
        raise NeedsConsent(
            f"candidate {row.id}: {found.sentence}",
            hint=f"another approver: `evolve approve {row.id} --reason …`",
        )
    tell_promoter(settings)
    folder = signatures.folder_of(settings, row.approval_digest)
    swap = product.ask_promoter(lambda ask: ask.submit(signed, folder))
    with product.store.write() as session:
        row = runs.get_candidate(session, candidate_id)
        row.swap_id, row.state = swap, "approved"
        session.add(row)
    return swap


def _consent(product: Product) -> ConsentSection:
    """As it stands in `evolve.toml` now: a page runs for days, and who lost a role has lost it at once."""
    return load_settings(product.settings.home).consent


def _require_role(product: Product, person: str) -> None:
    known = _consent(product).people.get(person)
    if known is None:
        raise NeedsConsent(f"{person} is not registered", hint="`evolve people add`")
    if not MAY_APPROVE & set(known.roles):
        raise NeedsConsent(f"{person} may not approve", hint=f"roles: {', '.join(known.roles)}")


def _waiting(product: Product, row: CandidateRow) -> Standing | None:
    """The approval that this candidate has, if its signatures still count."""
    if row.approval_digest is None:
        return None
    found = signatures.standing(load_settings(product.settings.home), row.approval_digest, None)
    return None if found.void else found


def _require_no_swap(row: CandidateRow) -> None:
    if row.swap_id is not None:
        raise Refused(f"candidate {row.id} is being swapped in", hint="`evolve rollback` calls that off")


def _needs_lossy(why: str) -> NeedsConsent:
    return NeedsConsent(
        f"{why}: a rollback would lose what users wrote since the release",
        hint="promote the change in two steps (expand, then contract), or let two people sign with --accept-lossy",
    )


def _require_room(row: CandidateRow, found: Standing, person: str) -> None:
    if found.complete:
        raise Refused(f"candidate {row.id}: {found.sentence} already", hint=f"`evolve promote {row.id}`")
    if person in found.signed:
        raise Refused(
            f"{person} has signed candidate {row.id} already: {found.sentence}",
            hint="another approver must sign",
        )


def _begin(
    product: Product,
    row: CandidateRow,
    requester: str,
    person: str,
    reason: str,
    key: Ed25519PrivateKey,
    accept_lossy: bool,
) -> SignedApproval:
    """A new approval with its bundle and first signature, in a folder that no row names yet."""
    folder = product.settings.home / "approvals" / f".{new_id()}"
    try:
        signed = sign(_approval(product, row, requester, person, reason, folder, accept_lossy), key)
        os.replace(folder, signatures.folder_of(product.settings, signed.approval.digest))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return signed


def _sign(
    product: Product,
    seen: CandidateRow,
    person: str,
    reason: str,
    key: Ed25519PrivateKey,
    begun: SignedApproval | None,
) -> Standing:
    """Let the signature count: to `begun`, else to the waiting approval.

    Writers of the database queue, so what is read here can't change before it is written, whichever process does it. The
    ledger hears of a signature before it counts.
    """
    settings = load_settings(product.settings.home)
    with product.store.write() as session:
        row = runs.get_candidate(session, seen.id)
        if (row.state, row.approval_digest) != (seen.state, seen.approval_digest):
            raise Refused(
                f"candidate {row.id}: somebody else decided meanwhile, so nothing was signed",
                hint="look again, then try again",
            )
        signed = begun
        if signed is None:
            earlier = signatures.read(settings, row.approval_digest or "")
            signed = sign_as(person, earlier.approval, key, earlier)
        found = signatures.judge(settings, signed)
        if found.void:
            raise Refused(f"the signature would not hold: {found.void}")
        product.ledger.append(
            "approval.signed",
            {
                "candidate": row.id,
                "approval": signed.approval.digest,
                "image": row.image,
                "policy": signed.approval.policy,
                "signed": list(found.signed),
                "needed": found.needed,
                "because": list(found.because),
            },
            who=person,
            reason=reason,
        )
        signatures.write(settings, signed)
        row.approval_digest = signed.approval.digest
        if found.complete:
            row.state, row.decided_by = "approved", ", ".join(found.signed)
            row.decided_reason = "; ".join(dict.fromkeys((signed.approval.reason, reason)))
        else:
            row.state, row.decided_by, row.decided_reason = "ready", "", ""
        session.add(row)
    return found


def _approval(
    product: Product,
    row: CandidateRow,
    requester: str,
    person: str,
    reason: str,
    folder: Path,
    accept_lossy: bool,
) -> Approval:
    blobs = product.store.blobs
    candidate = Candidate.model_validate_json(blobs.get(row.candidate_blob))
    batch = SealedBatch.model_validate_json(blobs.get(candidate.batch_digest))
    report = TrialReport.model_validate_json(blobs.get(row.report_blob or ""))
    base_schema, schema = signatures.state_schemas(product.settings, candidate)
    declared = declared_class(base_schema, schema)
    if declared == "lossy" and not accept_lossy:
        raise _needs_lossy("the live image can't read the state that this one writes")
    hashes = write_bundle(
        folder,
        {
            "candidate.json": candidate,
            "report.json": report,
            "batch.json": batch,
            "held_out.json": [case.model_dump(mode="json") for case in batch.held_out],
            "diff.patch": blobs.get(row.diff_blob),
            "workflow_graph.json": _workflows(product, candidate.commit),
            "capability_diff.json": _capability_difference(product, candidate),
        },
    )
    solo = _consent(product).policy == "solo"
    return Approval(
        nonce=new_id(),
        target_image=candidate.image,
        base_image=candidate.base_image,
        source_commit=candidate.commit,
        **hashes,  # type: ignore[arg-type]
        schema_reads=schema.reads,
        schema_writes=schema.writes,
        rollback_class="lossy" if accept_lossy else declared,
        replays_inbox=accept_lossy and signatures.has_inbox(product.settings),
        policy="solo" if solo else "separate",
        promoter_digest=promoter_digest(),
        requester=requester,
        approver=person,
        reason=reason,
        bake_seconds=product.settings.swap.bake_seconds,
        bake_turns=product.settings.swap.bake_turns,
        expires=(utcnow() + LIFETIME).isoformat(),
    )


def _capability_difference(product: Product, candidate: Candidate) -> dict[str, list[str]]:
    facts = substrate_facts(product.settings.substrate_repository, candidate)
    if not facts.known:
        raise Broken(f"the substrate's repository lacks {candidate.commit[:12]} or its base")
    return {"added": list(facts.gained), "removed": list(facts.lost)}


def _workflows(product: Product, commit: str) -> dict[str, str]:
    files = worktree.read_files(product.settings.substrate_repository, commit, "workflows/library/")
    return {path: digest(data) for path, data in files.items()}
