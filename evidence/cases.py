"""Cases: what a replay needs in order to make one turn happen again, and nothing else.

The three splits are three types without a common constructor path, so that handing a held-out case to
something that takes visible cases is a type error, not a review comment.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from evidence.canonical import digest

CallKind = Literal["model", "tool"]
MissPolicy = Literal["fail", "nearest", "live"]
SignalKind = Literal["exception", "tool_error", "timeout", "rule", "grader", "user_flag"]


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordedTurn(Frozen):
    """One request exactly as the service accepted it, and the answer that it gave."""

    request_id: str
    session: str
    path: str
    body: dict[str, object]
    status: int | None = None
    reply: object = None
    """The parsed JSON reply (for a stream: the list of its data frames), or None when none was seen."""
    started: float = 0.0
    """Unix seconds at acceptance; a replay hands it over as the turn's clock."""
    latency: float = 0.0


class RecordedCall(Frozen):
    """One call that went through the gateway, in the gateway's own words."""

    kind: CallKind
    target: str
    """Model calls: the endpoint path. Tool calls: `server/tool`; other MCP methods: `server#method`."""
    request_id: str
    """The turn that made it; empty when the service did not say."""
    request: object
    response: object
    status: int = 200
    start_order: int
    end_order: int
    latency: float
    """Seconds between request and response."""

    @property
    def key(self) -> str:
        """What a replay matches on: kind, target and canonical request."""
        return digest([self.kind, self.target, self.request])


class Cassette(Frozen):
    """All calls of a case's prelude and turn, in start order."""

    calls: tuple[RecordedCall, ...] = ()
    catalog: dict[str, object] = Field(default_factory=dict)
    """MCP server name -> {"initialize": …, "tools/list": …}: what discovery answered."""
    self_reported: bool = False
    """True when taken from a foreign agent's own log, not from our gateway."""


class GraderRef(Frozen):
    """A grader by name and content: `digest` covers its configuration and every file that it executes."""

    name: str
    digest: str


class Signal(Frozen):
    """Why a turn counts as failed; `reason` is one sentence for people."""

    kind: SignalKind
    name: str
    reason: str


class CaseContent(Frozen):
    """The replayable unit."""

    id: str
    evidence_id: str
    fingerprint: str
    turn: RecordedTurn
    prelude: tuple[RecordedTurn, ...] = ()
    cassette: Cassette = Cassette()
    graders: tuple[GraderRef, ...] = ()
    signals: tuple[Signal, ...] = ()
    on_model_miss: MissPolicy = "live"
    on_tool_miss: MissPolicy = "fail"

    @property
    def input_digest(self) -> str:
        """Two cases are distinct when these differ: what is asked and under which prelude, ids aside."""
        return digest([[t.path, t.body] for t in (*self.prelude, self.turn)])


class VisibleCase(CaseContent):
    """The proposer may see it."""

    split: Literal["visible"] = "visible"


class HeldOutCase(CaseContent):
    """The proposer never sees it; it decides the verdict."""

    split: Literal["held_out"] = "held_out"


class RegressionCase(CaseContent):
    """Worked before; must go on working."""

    split: Literal["regression"] = "regression"


AnyCase = Annotated[VisibleCase | HeldOutCase | RegressionCase, Field(discriminator="split")]


class SealedBatch(Frozen):
    """A batch after sealing: split, frozen, hashed. The first object of the chain."""

    v: Literal[1] = 1
    id: str
    fingerprint: str
    title: str
    substrate: str
    baseline_digest: str
    baseline_commit: str
    visible: tuple[VisibleCase, ...]
    held_out: tuple[HeldOutCase, ...]
    regression: tuple[RegressionCase, ...]
    graders_digest: str
    """Over every grader file and configuration in force at sealing."""
    sealed_at: str
    sealed_by: str
    cannot_show: tuple[str, ...] = ()
    """What a batch sealed early can't support, one sentence each."""

    @property
    def digest(self) -> str:
        return digest(self)

    @property
    def held_out_digest(self) -> str:
        return digest([case.model_dump(mode="json") for case in self.held_out])
