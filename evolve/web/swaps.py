"""A swap as it happens, and the way back.

The only page with a script: a pinned htmx that asks for the steps again and again. Its policy lets no other script in, and
nothing inline; without a script the page asks as a whole. Nothing that is signed stands on it.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import HTMLResponse, Response

from evolve import views
from evolve.errors import EvolveError
from evolve.views import SwapView
from evolve.web.desk import (
    Actor,
    Desk,
    desk_of,
    may_decide,
    see_other,
    sentence,
    signed_in,
    unproven,
)
from evolve.web.pages import LIVE_SECONDS, STATIC_AGE, wants_live
from evolve.web.render import SCRIPT
from evolve.web.shield import POLICY

router = APIRouter()

SCRIPT_POLICY = POLICY.replace(
    "script-src 'none'; require-trusted-types-for 'script'", "script-src 'self'; connect-src 'self'"
)
STOP_POLLING = 286
"""What htmx understands as: take this, and do not ask again."""
MIN_REASON = 3


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
    view = views.get_swap(desk.settings, swap_id)
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
    view = views.get_swap(desk.settings, swap_id)
    if wrong := _wrong(desk, actor, view, nonce, reason):
        return _page(desk, actor, request, swap_id, status=wrong[0], error=wrong[1], reason=reason)
    if stranger := unproven(desk, actor, request, passphrase):
        error = stranger.error
        answer = _page(desk, actor, request, swap_id, status=stranger.status, error=error, reason=reason)
        answer.headers.update(stranger.headers)
        return answer
    try:
        back = desk.consent.roll_back(person=actor.person, reason=reason.strip(), swap=swap_id)
        return see_other(f"/swaps/{back}")
    except EvolveError as refused:
        return _page(desk, actor, request, swap_id, status=409, error=sentence(refused), reason=reason)


def offers_rollback(desk: Desk, view: SwapView) -> bool:
    """Whether going back from here means this swap: it is the newest, and it stands or is under way."""
    newest = next(iter(views.list_swaps(desk.settings)), None)
    standing = not view.ended or view.state.lower() in ("committed", "quarantined")
    return newest is not None and newest.id == view.id and standing and not _going_back(view)


def _going_back(view: SwapView) -> bool:
    return not view.ended and any(step.state.lower().startswith("rb_") for step in view.steps)


def _wrong(desk: Desk, actor: Actor, view: SwapView, nonce: str, reason: str) -> tuple[int, str] | None:
    """The nonce is spent first: whatever else is wrong, the same form never counts twice."""
    fresh = desk.sessions.spend(actor.session, nonce, act_of(view))
    if not fresh:
        return (
            409,
            "This form was used already, is too old, or was made for something else. Nothing was done.",
        )
    if not offers_rollback(desk, view):
        return 409, "There is nothing to go back from here any more."
    if len(reason.strip()) < MIN_REASON:
        return 400, "Give a reason; it is kept for ever."
    return None


def act_of(view: SwapView) -> str:
    return f"rollback {view.id}"


def _page(
    desk: Desk,
    actor: Actor,
    request: Request,
    swap_id: str,
    *,
    status: int = 200,
    error: str = "",
    reason: str = "",
) -> Response:
    view = views.get_swap(desk.settings, swap_id)
    offered = actor.may_decide and offers_rollback(desk, view)
    answer = desk.page(
        "swap.html",
        actor,
        status=status,
        swap=view,
        live=not view.ended and wants_live(request),
        seconds=LIVE_SECONDS,
        error=error,
        reason=reason,
        nonce=desk.sessions.issue(actor.session, act_of(view)) if offered else "",
    )
    answer.headers["content-security-policy"] = SCRIPT_POLICY
    return answer
