"""Approve or decline: the only forms that act. Both spend a nonce; approving also asks for the passphrase and
the digest.

What is signed is what was shown: the nonce is bound to the image that the page displayed, and the digits that
the person types are compared with the stored image again where the signature is made.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from evolve.errors import EvolveError, NotFound
from evolve.story import Story, candidate_story
from evolve.views import SwapView, get_swap
from evolve.web.desk import (
    Actor,
    Desk,
    desk_of,
    may_decide,
    see_other,
    sentence,
    unproven,
)
from evolve.web.diffs import read_diff

router = APIRouter(dependencies=[Depends(may_decide)])

MIN_REASON = 3


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
    digits = digits.strip().lower()
    if wrong := _wrong_form(desk, actor, story, "approve", nonce, reason) or _wrong_digits(story, digits):
        return _again(desk, actor, story, wrong, reason)
    if wrong := _wrong_class(story, accept_lossy):
        return _again(desk, actor, story, wrong, reason)
    if stranger := unproven(desk, actor, request, passphrase):
        answer = _again(desk, actor, story, (stranger.status, stranger.error), reason)
        answer.headers.update(stranger.headers)
        return answer
    try:
        desk.consent.approve(
            candidate_id,
            person=actor.person,
            passphrase=passphrase,
            reason=reason.strip(),
            confirm_digest=digits,
            accept_lossy=accept_lossy,
        )
    except EvolveError as error:
        return _again(desk, actor, story, (409, sentence(error)), reason)
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
    if wrong := _wrong_form(desk, actor, story, "decline", nonce, reason):
        return _again(desk, actor, story, wrong, reason)
    try:
        desk.consent.decline(candidate_id, person=actor.person, reason=reason.strip())
    except EvolveError as error:
        return _again(desk, actor, story, (409, sentence(error)), reason)
    return see_other(f"/candidates/{candidate_id}#decision")


def decision_form(desk: Desk, actor: Actor, candidate_id: str) -> Response:
    """The candidate's page, with forms when this person may decide on it."""
    return _page(desk, actor, candidate_story(desk.settings_now, desk.store, candidate_id))


def why_not(desk: Desk, actor: Actor, story: Story) -> str:
    """Why this person can't sign this candidate; empty when they can, or when there is nothing to decide."""
    if story.candidate.state != "ready":
        return ""
    if not actor.may_decide:
        return "Deciding needs the role approver."
    if story.problems:
        return "What is stored does not fit together, so there is nothing that could be signed."
    if actor.person == story.run.requester and desk.settings.consent.policy == "separate":
        return "You started this run. Somebody else has to approve what came of it; you may decline it."
    if actor.person in story.consent.signed and not story.consent.void:
        return "You have signed this approval. Somebody else has to sign, too; you may decline it."
    return ""


Wrong = tuple[int, str] | None


def _wrong_form(desk: Desk, actor: Actor, story: Story, deed: str, nonce: str, reason: str) -> Wrong:
    """The nonce is spent first: whatever else is wrong, the same form never counts twice."""
    fresh = desk.sessions.spend(actor.session, nonce, act_of(deed, story))
    if not fresh:
        return (
            409,
            "This form was used already, is too old, or was made for something else: somebody may have decided "
            "meanwhile. Nothing was done; try again.",
        )
    if story.candidate.state != "ready":
        state = story.candidate.state.replace("_", " ")
        return 409, f"This candidate is {state}: there is nothing to decide any more."
    if deed == "approve" and (blocked := why_not(desk, actor, story)):
        return 409, blocked
    if len(reason.strip()) < MIN_REASON:
        return 400, "Give a reason; it is kept for ever."
    return None


def _wrong_digits(story: Story, digits: str) -> Wrong:
    if digits != story.candidate.image[-8:]:
        return 400, "Those are not the last 8 digits of this image. Nothing was signed."
    return None


def _wrong_class(story: Story, accept_lossy: bool) -> Wrong:
    if story.consent.rollback_class == "lossy" and not accept_lossy:
        return 400, "A rollback may lose what users wrote. Nothing is signed unless you agree to that."
    return None


def _again(desk: Desk, actor: Actor, story: Story, wrong: tuple[int, str], reason: str) -> Response:
    status, error = wrong
    return _page(desk, actor, story, status=status, error=error, reason=reason)


def _page(
    desk: Desk, actor: Actor, story: Story, *, status: int = 200, error: str = "", reason: str = ""
) -> Response:
    blocked = why_not(desk, actor, story)
    may_decline = story.candidate.state == "ready" and actor.may_decide
    may_approve = may_decline and not blocked
    return desk.page(
        "candidate.html",
        actor,
        status=status,
        story=story,
        diff=read_diff(story.diff).marked(story.facts.hot),
        swap=_swap(desk, story),
        error=error,
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
