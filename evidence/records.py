"""What the outside sees of evidence and batches: plain frozen records, safe to print as JSON."""

from typing import Literal

from evidence.cases import Frozen, RecordedCall, RecordedTurn, Signal

BatchState = Literal["open", "sealed", "evolving", "ready", "applied", "dismissed"]
CaseState = Literal["candidate", "confirmed", "unchecked", "refused"]
Role = Literal["failure", "regression"]


class EvidenceRecord(Frozen):
    id: str
    request_id: str
    fingerprint: str
    title: str
    signals: tuple[Signal, ...]
    session: str
    principal: str
    image: str
    """Digest of the image that was serving."""
    batch_id: str | None
    held: str
    """Why it is in no batch; empty when it is in one."""
    ts: float
    at: str


class EvidenceDetail(EvidenceRecord):
    turn: RecordedTurn | None
    events: tuple[dict[str, object], ...]
    calls: tuple[RecordedCall, ...]
    prelude_turns: int


class BatchRecord(Frozen):
    id: str
    fingerprint: str
    title: str
    state: BatchState
    reason: str
    evidence: int
    sessions: int
    principals: int
    sealed_digest: str
    opened_by: str
    tagged_by: str
    at: str
    changed: str


class BatchChange(Frozen):
    kind: str
    who: str
    reason: str
    data: dict[str, object]
    at: str


class CaseRecord(Frozen):
    """A case while its batch is drafted.

    Its content is built on demand: preludes share most of their turns.
    """

    id: str
    batch_id: str
    evidence_id: str
    request_id: str
    role: Role
    state: CaseState
    reason: str
    prelude: tuple[str, ...] | None
    """Request ids of the confirmed prelude; None before it was minimised."""
    input_digest: str
    split: str
    decided: int


class BatchDetail(BatchRecord):
    evidence_ids: tuple[str, ...]
    cases: tuple[CaseRecord, ...]
    changes: tuple[BatchChange, ...]


class Draft(Frozen):
    """Candidate cases of a batch, to be confirmed on the baseline before it is sealed."""

    batch_id: str
    failures: tuple[CaseRecord, ...]
    regression: tuple[CaseRecord, ...]


class Readiness(Frozen):
    """May this batch seal itself now? One sentence for each thing that is missing."""

    ready: bool
    missing: tuple[str, ...]
    failures: int
    regression: int
    principals: int
