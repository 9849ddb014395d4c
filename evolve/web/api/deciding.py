"""What may be done: each deed with a reason, by the functions that the page's forms end in."""

from fastapi import APIRouter, Depends, Request

from evolve import journal
from evolve.signatures import Signed
from evolve.story import candidate_story
from evolve.views import Decided, SwapAsked
from evolve.web import deeds
from evolve.web.api.answers import TO_A_DEED
from evolve.web.api.asked import Approval, Id, Refusal, WayBack, no_query, only_json
from evolve.web.api.door import Deciding
from evolve.web.desk import address_of, desk_of

router = APIRouter(
    prefix="/api/v1", responses=TO_A_DEED, dependencies=[Depends(only_json), Depends(no_query)]
)


@router.post("/candidates/{candidate_id}/approve")
def approve(request: Request, who: Deciding, candidate_id: Id, asked: Approval) -> Signed:
    """Sign exactly these bytes. The last signature that is needed hands the approval to the promoter."""
    desk = desk_of(request)
    signed = deeds.approve(
        desk,
        who,
        address_of(request),
        candidate_story(desk.settings_now, desk.store, candidate_id),
        reason=asked.reason,
        digits=asked.digits,
        passphrase=asked.passphrase.get_secret_value(),
        accept_lossy=asked.accept_lossy,
    )
    return Signed.of(candidate_id, signed)


@router.post("/candidates/{candidate_id}/decline")
def decline(request: Request, who: Deciding, candidate_id: Id, asked: Refusal) -> Decided:
    """Refuse a candidate; its batch goes back to sealed, and signatures so far are discarded."""
    desk = desk_of(request)
    story = candidate_story(desk.settings_now, desk.store, candidate_id)
    deeds.decline(desk, who, story, reason=asked.reason)
    return Decided(candidate=candidate_id, state="declined")


@router.post("/swaps/{swap_id}/rollback")
def roll_back(request: Request, who: Deciding, swap_id: Id, asked: WayBack) -> SwapAsked:
    """Go back from the newest swap, which the path must name; answers with the swap that does."""
    desk = desk_of(request)
    back = deeds.roll_back(
        desk,
        who,
        address_of(request),
        journal.get_swap(desk.settings, swap_id),
        reason=asked.reason,
        passphrase=asked.passphrase.get_secret_value(),
    )
    return SwapAsked(swap=back)
