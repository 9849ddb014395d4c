"""Who must agree, and is this agreement good now? A question with a reason for its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from evidence.canonical import utcnow
from promote.approval import SignedApproval
from promote.keys import signed_by

LIFETIME = timedelta(hours=24)
SKEW = timedelta(minutes=5)


class Person(BaseModel):
    """A registered person. Only `approver` may sign; `public_key` is 32 raw bytes in base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    public_key: str
    roles: tuple[Literal["approver", "operator"], ...] = ("approver",)


class ConsentRefused(Exception):
    """The approval is not good, and why."""


@dataclass(frozen=True)
class ConsentPolicy:
    """What this promoter accepts, from its own configuration, never from the request."""

    people: tuple[Person, ...]
    solo: bool
    """One person may request and approve; the approval must say so itself (`policy = "solo"`)."""
    accept_inconclusive: bool
    promoter_digest: str
    bake_seconds: float
    bake_turns: int
    """The least that an approval may ask for."""

    def check(self, signed: SignedApproval, *, verdict: str, grows: bool, schema_changes: bool) -> None:
        """Raises ConsentRefused with one line. `grows` and `schema_changes` need two approvers."""
        approval = signed.approval
        self._check_time(approval.expires)
        if approval.promoter_digest != self.promoter_digest:
            raise ConsentRefused("the approval is for another build of the promoter; approve again")
        self._check_verdict(verdict, approval.reason)
        self._check_people(signed, needed=2 if (grows or schema_changes) and not self._solo(signed) else 1)
        if approval.rollback_class == "lossy":
            raise ConsentRefused("rollback class lossy is refused: split the change into expand and contract")
        if approval.bake_seconds < self.bake_seconds or approval.bake_turns < self.bake_turns:
            least = f"{self.bake_seconds:g} s and {self.bake_turns} turns"
            raise ConsentRefused(
                f"the bake is shorter than {least}: it could not show that the image is healthy"
            )

    def _solo(self, signed: SignedApproval) -> bool:
        return self.solo and signed.approval.policy == "solo"

    def _check_time(self, expires: str) -> None:
        try:
            end = datetime.fromisoformat(expires)
        except ValueError:
            raise ConsentRefused(f"expires: {expires!r} is no RFC 3339 time") from None
        if end.tzinfo is None:
            raise ConsentRefused("expires: has no time zone")
        now = utcnow()
        if now > end.astimezone(UTC) + SKEW:
            raise ConsentRefused(f"the approval expired at {expires}")
        if end.astimezone(UTC) > now + LIFETIME + SKEW:
            raise ConsentRefused("the approval lives longer than 24 hours")

    def _check_verdict(self, verdict: str, reason: str) -> None:
        if verdict == "converged" or (
            verdict == "inconclusive" and self.accept_inconclusive and reason.strip()
        ):
            return
        raise ConsentRefused(f"the report's verdict is {verdict}: only converged may be promoted")

    def _check_people(self, signed: SignedApproval, needed: int) -> None:
        approval = signed.approval
        known: Mapping[str, Person] = {person.name: person for person in self.people}
        if approval.approver not in signed.signatures:
            raise ConsentRefused(f"{approval.approver} approved, but did not sign")
        for name, signature in signed.signatures.items():
            person = known.get(name)
            if person is None or "approver" not in person.roles:
                raise ConsentRefused(f"{name} is not registered as an approver")
            if not signed_by(approval, signature, person.public_key):
                raise ConsentRefused(f"{name}'s signature is not over these bytes")
        if approval.policy == "solo" and not self.solo:
            raise ConsentRefused("policy solo is not permitted here: another person must approve")
        if approval.requester in signed.signatures and not self._solo(signed):
            raise ConsentRefused(f"{approval.requester} asked for this run and may not approve it")
        if len({known[name].public_key for name in signed.signatures}) < needed:
            raise ConsentRefused(
                f"{needed} approvers are needed for more capabilities or another state schema"
            )
