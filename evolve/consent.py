"""A person's decision: put the bytes together, unlock the person's key for this one approval, sign, hand to the promoter.

No key stays unlocked, no process but the person's own command (or the page's request that carries the passphrase) ever
holds one.
"""

import json
import shutil
from pathlib import Path

from containers.runtime import ImageRef
from evidence import batch as batches
from evidence.canonical import canonical_json, digest, new_id, utcnow
from evidence.cases import SealedBatch
from evolve import runs, worktree
from evolve.candidate import Candidate
from evolve.capabilities import difference
from evolve.errors import BadInput, NeedsConsent, Refused
from evolve.home import key_path
from evolve.product import Product
from evolve.tables import CandidateRow
from promote.approval import Approval, SignedApproval
from promote.bundle import write_bundle
from promote.keys import KeyRefused, sign, unlock
from promote.policy import LIFETIME
from promote.promoter import promoter_digest
from trial.report import TrialReport

LAST_HEX = 8


def check_passphrase(product: Product, person: str, passphrase: str) -> bool:
    """Whether the passphrase unlocks the person's key; the key is forgotten at once."""
    if person not in product.settings.consent.people:
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
) -> str:
    """Sign exactly this candidate's bytes; returns the approval's digest. The signature waits for `promote`.

    `confirm_digest`: the last 8 hex digits of the image, typed by the person. Raises BadInput, Refused, NeedsConsent.
    """
    if not reason.strip():
        raise BadInput("an approval needs a reason")
    _require_role(product, person)
    with product.store.read() as session:
        row = runs.get_candidate(session, candidate_id)
        run = runs.get_run(session, row.run_id)
    if row.state not in ("ready", "approved"):
        raise Refused(f"candidate {candidate_id} is {row.state}: only a converged one can be approved")
    if run.requester == person and product.settings.consent.policy != "solo":
        raise NeedsConsent(
            f"{person} asked for this run and may not approve it", hint="another approver must decide"
        )
    if confirm_digest is not None and confirm_digest.lower() != row.image[-LAST_HEX:]:
        raise BadInput(f"the typed digits are not the last {LAST_HEX} of this candidate's image")
    folder = product.settings.home / "approvals" / new_id()
    try:
        approval = _approval(product, row, run.requester, person, reason, folder)
        key = unlock(key_path(product.settings, person), passphrase)
        signed = sign(approval, key)
        (folder / "approval.json").write_bytes(canonical_json(signed))
    except KeyRefused as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NeedsConsent(str(error)) from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _decide(product, row.id, "approved", person, reason, approval.digest)
    product.ledger.append(
        "approval.signed",
        {
            "candidate": row.id,
            "approval": approval.digest,
            "image": row.image,
            "policy": approval.policy,
            "folder": folder.name,
        },
        who=person,
        reason=reason,
    )
    return approval.digest


def decline(product: Product, candidate_id: str, *, person: str, reason: str) -> None:
    """Refuse a candidate; its batch goes back to `sealed` with the reason."""
    if not reason.strip():
        raise BadInput("declining needs a reason")
    _require_role(product, person)
    with product.store.read() as session:
        row = runs.get_candidate(session, candidate_id)
    if row.state not in ("ready", "approved"):
        raise Refused(f"candidate {candidate_id} is {row.state}: nothing waits for a decision")
    _decide(product, row.id, "declined", person, reason, None)
    batches.mark(product.store, row.batch_id, "sealed", reason=f"declined: {reason}", who=person)
    product.ledger.append("candidate.declined", {"candidate": row.id}, who=person, reason=reason)


def approve_and_promote(
    product: Product,
    candidate_id: str,
    *,
    person: str,
    passphrase: str,
    reason: str,
    confirm_digest: str | None,
) -> str:
    """What the page's button does: sign, then hand in at once. Returns the approval's digest."""
    approval = approve(
        product,
        candidate_id,
        person=person,
        passphrase=passphrase,
        reason=reason,
        confirm_digest=confirm_digest,
    )
    promote(product, candidate_id)
    return approval


def promote(product: Product, candidate_id: str) -> str:
    """Hand the signed approval to the promoter; returns the swap's id. Raises Refused with the promoter's reason."""
    with product.store.read() as session:
        row = runs.get_candidate(session, candidate_id)
    folder = approval_folder(product, row)
    signed = SignedApproval.model_validate_json((folder / "approval.json").read_bytes())
    swap = product.ask_promoter(lambda ask: ask.submit(signed, folder))
    with product.store.write() as session:
        row = runs.get_candidate(session, candidate_id)
        row.swap_id = swap
        session.add(row)
    return swap


def approval_folder(product: Product, row: CandidateRow) -> Path:
    """The bundle that was signed. Raises NeedsConsent when nobody has."""
    for entry in reversed(product.ledger.entries()):
        if entry.kind == "approval.signed" and entry.data["approval"] == row.approval_digest:
            return product.settings.home / "approvals" / str(entry.data["folder"])
    raise NeedsConsent(
        f"candidate {row.id} is {row.state}: nobody has approved it",
        hint=f"`evolve approve {row.id} --reason …`",
    )


def _require_role(product: Product, person: str) -> None:
    known = product.settings.consent.people.get(person)
    if known is None:
        raise NeedsConsent(f"{person} is not registered", hint="`evolve people add`")
    if not {"approver", "admin"} & set(known.roles):
        raise NeedsConsent(f"{person} may not approve", hint=f"roles: {', '.join(known.roles)}")


def _decide(
    product: Product, candidate_id: str, state: str, person: str, reason: str, approval: str | None
) -> None:
    with product.store.write() as session:
        row = runs.get_candidate(session, candidate_id)
        row.state, row.decided_by, row.decided_reason, row.approval_digest = state, person, reason, approval
        session.add(row)


def _approval(
    product: Product, row: CandidateRow, requester: str, person: str, reason: str, folder: Path
) -> Approval:
    blobs = product.store.blobs
    candidate = Candidate.model_validate_json(blobs.get(row.candidate_blob))
    batch = SealedBatch.model_validate_json(blobs.get(candidate.batch_digest))
    report = TrialReport.model_validate_json(blobs.get(row.report_blob or ""))
    manifest = product.manifest_of(ImageRef(candidate.image))
    base_schema = product.manifest_of(ImageRef(candidate.base_image)).state_schema
    hashes = write_bundle(
        folder,
        {
            "candidate.json": candidate,
            "report.json": report,
            "batch.json": batch,
            "held_out.json": [case.model_dump(mode="json") for case in batch.held_out],
            "diff.patch": blobs.get(row.diff_blob),
            "workflow_graph.json": _workflows(product, candidate.commit),
            "capability_diff.json": _capability_diff(product, candidate),
            "provenance.json": _provenance(candidate, batch, report),
        },
    )
    solo = product.settings.consent.policy == "solo"
    return Approval(
        nonce=new_id(),
        target_image=candidate.image,
        base_image=candidate.base_image,
        source_commit=candidate.commit,
        **hashes,  # type: ignore[arg-type]
        schema_reads=manifest.state_schema.reads,
        schema_writes=manifest.state_schema.writes,
        rollback_class="same" if manifest.state_schema == base_schema else "forward_compatible",
        policy="solo" if solo else "separate",
        promoter_digest=promoter_digest(),
        requester=requester,
        approver=person,
        reason=reason,
        bake_seconds=product.settings.swap.bake_seconds,
        bake_turns=product.settings.swap.bake_turns,
        expires=(utcnow() + LIFETIME).isoformat(),
    )


def _workflows(product: Product, commit: str) -> dict[str, str]:
    files = worktree.read_files(product.settings.substrate_repository, commit, "workflows/library/")
    return {path: digest(data) for path, data in files.items()}


def _capability_diff(product: Product, candidate: Candidate) -> dict[str, list[str]]:
    repository = product.settings.substrate_repository

    def sources(commit: str) -> dict[str, str]:
        wanted = set(candidate.files)
        files = worktree.read_files(repository, commit, "")
        return {path: data.decode("utf-8", "replace") for path, data in files.items() if path in wanted}

    return difference(sources(candidate.base_commit), sources(candidate.commit))


def _provenance(candidate: Candidate, batch: SealedBatch, report: TrialReport) -> dict[str, object]:
    return {
        "subject": candidate.image,
        "source_commit": candidate.commit,
        "base_commit": candidate.base_commit,
        "coder": candidate.coder,
        "run": candidate.run_id,
        "batch": batch.id,
        "report": report.id,
        "graders": batch.graders_digest,
        "built": json.loads(canonical_json({"image": candidate.image, "diff": candidate.diff_sha256})),
    }
