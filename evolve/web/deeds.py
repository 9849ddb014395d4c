"""What people do here, asked for by a form or through the API: approve, decline, go back.

Both ways end in these functions, which ask the same questions in the same order. Each raises `evolve.errors` before
anything is done; where a signature is made, all of it is asked again.
"""

from evolve import journal
from evolve.errors import BadInput, NeedsConsent, Refused
from evolve.journal import SwapView
from evolve.signatures import Standing
from evolve.story import Story
from evolve.web.desk import Caller, Desk, TooManyTries

MIN_REASON = 3


def approve(
    desk: Desk,
    caller: Caller,
    address: str,
    story: Story,
    *,
    reason: str,
    digits: str,
    passphrase: str,
    accept_lossy: bool,
) -> Standing:
    """`story`: as it was shown. `digits`: the last 8 of its image, typed. `address`: of the peer, whose tries are
    counted. `accept_lossy`: the person agrees that a rollback may lose what users wrote."""
    _require_ready(story)
    if blocked := why_not(desk, caller, story):
        raise Refused(blocked)
    _require_reason(reason)
    digits = digits.strip().lower()
    if digits != story.candidate.image[-8:]:
        raise BadInput("Those are not the last 8 digits of this image. Nothing was signed.")
    if story.consent.rollback_class == "lossy" and not accept_lossy:
        raise BadInput("A rollback may lose what users wrote. Nothing is signed unless you agree to that.")
    _require_passphrase(desk, caller, address, passphrase)
    return desk.consent.approve(
        story.candidate.id,
        person=caller.person,
        passphrase=passphrase,
        reason=reason.strip(),
        confirm_digest=digits,
        accept_lossy=accept_lossy,
    )


def decline(desk: Desk, caller: Caller, story: Story, *, reason: str) -> None:
    _require_ready(story)
    _require_reason(reason)
    desk.consent.decline(story.candidate.id, person=caller.person, reason=reason.strip())


def roll_back(
    desk: Desk, caller: Caller, address: str, swap: SwapView, *, reason: str, passphrase: str
) -> str:
    """Returns the id of the swap that goes back. `swap`: the one that was shown, and must still be the newest."""
    if not offers_rollback(desk, swap):
        raise Refused("There is nothing to go back from here any more.")
    _require_reason(reason)
    _require_passphrase(desk, caller, address, passphrase)
    return desk.consent.roll_back(person=caller.person, reason=reason.strip(), swap=swap.id)


def why_not(desk: Desk, caller: Caller, story: Story) -> str:
    """Why this person can't sign this candidate; empty when they can, or when there is nothing to decide."""
    if story.candidate.state != "ready":
        return ""
    if not caller.may_decide:
        return "Deciding needs the role approver."
    if story.problems:
        return "What is stored does not fit together, so there is nothing that could be signed."
    if caller.person == story.run.requester and desk.settings.consent.policy == "separate":
        return "You started this run. Somebody else has to approve what came of it; you may decline it."
    if caller.person in story.consent.signed and not story.consent.void:
        return "You have signed this approval. Somebody else has to sign, too; you may decline it."
    return ""


def offers_rollback(desk: Desk, swap: SwapView) -> bool:
    """Whether going back from here means this swap: it is the newest, and it stands or is under way."""
    newest = next(iter(journal.list_swaps(desk.settings, limit=1)), None)
    standing = not swap.ended or swap.state.lower() in ("committed", "quarantined")
    return newest is not None and newest.id == swap.id and standing and not _going_back(swap)


def _going_back(swap: SwapView) -> bool:
    return not swap.ended and any(step.state.lower().startswith("rb_") for step in swap.steps)


def _require_ready(story: Story) -> None:
    if story.candidate.state != "ready":
        state = story.candidate.state.replace("_", " ")
        raise Refused(f"This candidate is {state}: there is nothing to decide any more.")


def _require_reason(reason: str) -> None:
    if len(reason.strip()) < MIN_REASON:
        raise BadInput("Give a reason; it is kept for ever.")


def _require_passphrase(desk: Desk, caller: Caller, address: str, passphrase: str) -> None:
    if wait := desk.at_the_desk.take(caller.person, address):
        raise TooManyTries(wait)
    if not desk.consent.check_passphrase(caller.person, passphrase):
        raise NeedsConsent("That is not your passphrase. Nothing was done.")
    desk.at_the_desk.succeeded(caller.person)
