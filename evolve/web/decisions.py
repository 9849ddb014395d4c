"""Approve or decline: the only forms that act. Both spend a nonce; approving also asks for the passphrase and
the digest.

What is signed is what was shown: the nonce is bound to the image that the page displayed, and the digits that
the person types are compared with the stored image again where the signature is made.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from evolve.errors import EvolveError, NotFound, Refused
from evolve.journal import SwapView, get_swap
from evolve.story import Story, candidate_story
from evolve.web import deeds
from evolve.web.desk import Actor, Desk, address_of, desk_of, may_decide, see_other
from evolve.web.diffs import read_diff

router = APIRouter(dependencies=[Depends(may_decide)])


@router.post("/candidates/{candidate_id}/approve")
def approve(
    request: Request,
    candidate_id: str,
    nonce: Annotated[str, Form(max_length=200)],
    reason: Annotated[str, Form(max_length=2000)] = "",
    digits: Annotated[str, Form(max_length=80)] = "",
    passphrase: Annotated[str, Form(max_length=1000)] = "",
    accept_lossy: Annotated[bool, Form()] = False,
) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    story = candidate_story(desk.settings_now, desk.store, candidate_id)
    try:
        _spend(desk, actor, story, "approve", nonce)
        deeds.approve(
            desk,
            actor,
            address_of(request),
            story,
            reason=reason,
            digits=digits,
            passphrase=passphrase,
            accept_lossy=accept_lossy,
        )
    except EvolveError as error:
        return _page(desk, actor, story, error, reason)
    return see_other(f"/candidates/{candidate_id}#decision")


@router.post("/candidates/{candidate_id}/decline")
def decline(
    request: Request,
    candidate_id: str,
    nonce: Annotated[str, Form(max_length=200)],
    reason: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    story = candidate_story(desk.settings_now, desk.store, candidate_id)
    try:
        _spend(desk, actor, story, "decline", nonce)
        deeds.decline(desk, actor, story, reason=reason)
    except EvolveError as error:
        return _page(desk, actor, story, error, reason)
    return see_other(f"/candidates/{candidate_id}#decision")


def decision_form(desk: Desk, actor: Actor, candidate_id: str) -> Response:
    """The candidate's page, with forms when this person may decide on it."""
    return _page(desk, actor, candidate_story(desk.settings_now, desk.store, candidate_id))


def _spend(desk: Desk, actor: Actor, story: Story, deed: str, nonce: str) -> None:
    """First of all: whatever else is wrong, the same form never counts twice."""
    if not desk.sessions.spend(actor.session, nonce, act_of(deed, story)):
        raise Refused(
            "This form was used already, is too old, or was made for something else: somebody may have decided "
            "meanwhile. Nothing was done; try again."
        )


def _page(
    desk: Desk, actor: Actor, story: Story, error: EvolveError | None = None, reason: str = ""
) -> Response:
    blocked = deeds.why_not(desk, actor, story)
    may_decline = story.candidate.state == "ready" and actor.may_decide
    may_approve = may_decline and not blocked
    return desk.page(
        "candidate.html",
        actor,
        error,
        story=story,
        diff=read_diff(story.diff).marked(story.facts.hot),
        swap=_swap(desk, story),
        reason=reason,
        blocked=blocked,
        approve_nonce=desk.sessions.issue(actor.session, act_of("approve", story)) if may_approve else "",
        decline_nonce=desk.sessions.issue(actor.session, act_of("decline", story)) if may_decline else "",
    )


def _swap(desk: Desk, story: Story) -> SwapView | None:
    if story.candidate.swap_id is None:
        return None
    try:
        return get_swap(desk.settings, story.candidate.swap_id)
    except NotFound:
        return None


def act_of(deed: str, story: Story) -> str:
    """What a form is for: the deed and the bytes that it is about, as they were shown."""
    report = story.report.digest if story.report else ""
    approval = story.candidate.approval_digest or ""
    return f"{deed} {story.candidate.id} {story.candidate.image} {report} {approval}"
