"""Who must agree, and is this agreement good now? A question with a reason for its answer."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from evidence.canonical import utcnow
from promote.approval import Approval, SignedApproval
from promote.keys import KeyRefused, public_key, signed_by

LIFETIME = timedelta(hours=24)
SKEW = timedelta(minutes=5)


Role = Literal["viewer", "operator", "approver", "admin"]
MAY_APPROVE: frozenset[Role] = frozenset({"approver", "admin"})


class Person(BaseModel):
    """A registered person; `public_key` is 32 raw bytes in base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    public_key: str
    roles: tuple[Role, ...] = ("approver",)

    @property
    def may_approve(self) -> bool:
        return bool(MAY_APPROVE & set(self.roles))


class ConsentRefused(Exception):
    """The approval is not good, and why."""


@dataclass(frozen=True)
class Need:
    """How many different people must sign, and what asks for more than one."""

    approvers: int
    because: tuple[str, ...] = ()


def approvers_needed(least: int, *, grows: bool, schema_changes: bool, lossy: bool) -> Need:
    """`least` is what an operator asks for always; the rest is never for one person to decide."""
    asked = (
        (grows, "it gains capabilities"),
        (schema_changes, "it changes the state schema"),
        (lossy, "a rollback would lose writes"),
    )
    because = tuple(why for applies, why in asked if applies)
    return Need(max(least, 2 if because else 1), because)


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
    approvers_needed: int = 1
    """The least number of people; some changes need two whatever stands here."""

    def check(self, signed: SignedApproval, *, verdict: str, grows: bool, schema_changes: bool) -> None:
        """Raises ConsentRefused with one line. `grows` and `schema_changes` are what the caller found in the bytes."""
        approval = signed.approval
        self._check_time(approval.expires)
        if approval.promoter_digest != self.promoter_digest:
            raise ConsentRefused("the approval is for another build of the promoter; approve again")
        self._check_verdict(verdict, approval.reason)
        self._check_people(signed, self.need(approval, grows=grows, schema_changes=schema_changes))
        if approval.bake_seconds < self.bake_seconds or approval.bake_turns < self.bake_turns:
            least = f"{self.bake_seconds:g} s and {self.bake_turns} turns"
            raise ConsentRefused(
                f"the bake is shorter than {least}: it could not show that the image is healthy"
            )

    def need(self, approval: Approval, *, grows: bool, schema_changes: bool) -> Need:
        lossy = approval.rollback_class == "lossy"
        return approvers_needed(
            self.approvers_needed, grows=grows, schema_changes=schema_changes, lossy=lossy
        )

    def signers(self, signed: SignedApproval) -> tuple[str, ...]:
        """The different people who signed these bytes and may. One signature that does not count spoils them all:
        raises ConsentRefused."""
        approval = signed.approval
        if approval.approver not in signed.signatures:
            raise ConsentRefused(f"{approval.approver} approved, but did not sign")
        known = {person.name: person for person in self.people}
        keys: dict[bytes, str] = {}
        for name, signature in signed.signatures.items():
            person = known.get(name)
            if person is None:
                raise ConsentRefused(f"{name} is not registered as an approver")
            if not person.may_approve:
                raise ConsentRefused(f"{name} may not approve: the role approver is missing")
            if not signed_by(approval, signature, person.public_key):
                raise ConsentRefused(f"{name}'s signature is not over these bytes")
            if (other := keys.setdefault(_raw(person), name)) != name:
                raise ConsentRefused(f"{other} and {name} hold one key: one person signed twice")
        if approval.policy == "solo" and not self.solo:
            raise ConsentRefused("policy solo is not permitted here: another person must approve")
        requester = known.get(approval.requester)
        asked = approval.requester in signed.signatures or (requester and _raw(requester) in keys)
        if asked and not self._solo(signed):
            raise ConsentRefused(f"{approval.requester} asked for this run and may not approve it")
        return tuple(signed.signatures)

    def keys_of(self, signed: SignedApproval) -> dict[str, str]:
        """The registered public key of everyone who signed."""
        return {person.name: person.public_key for person in self.people if person.name in signed.signatures}

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

    def _check_people(self, signed: SignedApproval, need: Need) -> None:
        have = len(self.signers(signed))
        if have < need.approvers:
            why = f": {', '.join(need.because)}" if need.because else ""
            raise ConsentRefused(f"{have} of {need.approvers} approvers have signed{why}")


def _raw(person: Person) -> bytes:
    """The key itself: base64 can spell one key in several ways."""
    try:
        return public_key(person.public_key).public_bytes_raw()
    except KeyRefused:
        return person.public_key.encode()
