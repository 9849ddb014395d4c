"""A swap as it happens, and the way back."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from evolve import journal
from evolve.errors import EvolveError, Refused
from evolve.journal import SwapView
from evolve.web import deeds
from evolve.web.desk import Actor, Desk, address_of, desk_of, may_decide, see_other, signed_in
from evolve.web.live import LIVE_SECONDS, let_script_in, part, signed_out_part, wants_live

router = APIRouter()


@router.get("/swaps/{swap_id}", dependencies=[Depends(signed_in)])
def swap(request: Request, swap_id: str) -> Response:
    desk = desk_of(request)
    return _page(desk, desk.actor(request), request, swap_id)


@router.get("/swaps/{swap_id}/steps")
def steps(request: Request, swap_id: str) -> Response:
    """The part of the page that changes."""
    desk = desk_of(request)
    if desk.actor_or_none(request) is None:
        return signed_out_part()
    view = journal.get_swap(desk.settings, swap_id)
    return part(desk, "swap_steps.html", not view.ended, swap=view)


@router.post("/swaps/{swap_id}/rollback", dependencies=[Depends(may_decide)])
def roll_back(
    request: Request,
    swap_id: str,
    nonce: Annotated[str, Form(max_length=200)],
    reason: Annotated[str, Form(max_length=2000)] = "",
    passphrase: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    view = journal.get_swap(desk.settings, swap_id)
    try:
        _spend(desk, actor, view, nonce)
        back = deeds.roll_back(desk, actor, address_of(request), view, reason=reason, passphrase=passphrase)
    except EvolveError as error:
        return _page(desk, actor, request, swap_id, error, reason)
    return see_other(f"/swaps/{back}")


def _spend(desk: Desk, actor: Actor, view: SwapView, nonce: str) -> None:
    """First of all: whatever else is wrong, the same form never counts twice."""
    if not desk.sessions.spend(actor.session, nonce, act_of(view)):
        raise Refused(
            "This form was used already, is too old, or was made for something else. Nothing was done."
        )


def act_of(view: SwapView) -> str:
    return f"rollback {view.id}"


def _page(
    desk: Desk,
    actor: Actor,
    request: Request,
    swap_id: str,
    error: EvolveError | None = None,
    reason: str = "",
) -> Response:
    view = journal.get_swap(desk.settings, swap_id)
    offered = actor.may_decide and deeds.offers_rollback(desk, view)
    answer = desk.page(
        "swap.html",
        actor,
        error,
        swap=view,
        live=not view.ended and wants_live(request),
        seconds=LIVE_SECONDS,
        reason=reason,
        nonce=desk.sessions.issue(actor.session, act_of(view)) if offered else "",
    )
    return let_script_in(answer)
