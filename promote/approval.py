"""A person's signed, expiring, single-use decision about exactly these bytes.

The record follows the Ed25519-over-canonical-JSON form; every hash in it is recomputed by the promoter from
bytes that it holds, when the approval is accepted and again when the new instance starts.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from evidence.canonical import canonical_json, digest

RollbackClass = Literal["same", "forward_compatible", "lossy"]


class Approval(BaseModel):
    """What is signed. Times are RFC 3339 UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Literal[2] = 2
    nonce: str
    target_image: str
    base_image: str
    source_commit: str
    diff_sha256: str
    batch_digest: str
    candidate_digest: str
    report_digest: str
    held_out_digest: str
    workflow_graph_sha256: str
    capability_diff_sha256: str
    schema_reads: tuple[int, ...]
    schema_writes: int
    rollback_class: RollbackClass
    """`lossy`: a rollback after the release may leave behind what users wrote since."""
    replays_inbox: bool = False
    """What a rollback leaves behind is answered anew, as far as the inbox has it; False: all of it is lost."""
    policy: Literal["separate", "solo"]
    promoter_digest: str
    requester: str
    approver: str
    reason: str
    bake_seconds: float
    bake_turns: int
    expires: str

    @property
    def signed_bytes(self) -> bytes:
        return canonical_json(self)

    @property
    def digest(self) -> str:
        return digest(self)


class SignedApproval(BaseModel):
    """The approval with its approvers' signatures (person -> base64 Ed25519 signature over
    `signed_bytes`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval: Approval
    signatures: dict[str, str]
