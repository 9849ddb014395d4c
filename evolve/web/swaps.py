"""A swap as it happens, and the way back.

The only page with a script: a pinned htmx that asks for the steps again and again. Its policy lets no other script in, and
nothing inline; without a script the page asks as a whole. Nothing that is signed stands on it.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import HTMLResponse, Response

from evolve import journal
from evolve.errors import EvolveError, Refused
from evolve.journal import SwapView
from evolve.web import deeds
from evolve.web.desk import Actor, Desk, address_of, desk_of, may_decide, see_other, signed_in
from evolve.web.pages import LIVE_SECONDS, STATIC_AGE, wants_live
from evolve.web.render import SCRIPT
from evolve.web.shield import POLICY

router = APIRouter()

SCRIPT_POLICY = POLICY.replace(
    "script-src 'none'; require-trusted-types-for 'script'", "script-src 'self'; connect-src 'self'"
)
STOP_POLLING = 286
"""What htmx understands as: take this, and do not ask again."""


@router.get("/static/htmx.min.js")
def script() -> Response:
    return Response(SCRIPT, media_type="text/javascript", headers={"cache-control": STATIC_AGE})


@router.get("/swaps/{swap_id}", dependencies=[Depends(signed_in)])
def swap(request: Request, swap_id: str) -> Response:
    desk = desk_of(request)
    return _page(desk, desk.actor(request), request, swap_id)


@router.get("/swaps/{swap_id}/steps")
def steps(request: Request, swap_id: str) -> Response:
    """The part of the page that changes. A script that is signed out is sent to the sign-in page as a whole."""
    desk = desk_of(request)
    if desk.actor_or_none(request) is None:
        return Response(headers={"hx-redirect": "/signin"})
    view = journal.get_swap(desk.settings, swap_id)
    html = desk.templates.get_template("swap_steps.html").render(swap=view, live=not view.ended)
    return HTMLResponse(html, status_code=STOP_POLLING if view.ended else 200)


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
    answer.headers["content-security-policy"] = SCRIPT_POLICY
    return answer
