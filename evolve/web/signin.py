"""Signing in and out. The passphrase unlocks the person's key for a moment, which proves it; nothing of it is
kept."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from evolve.web.desk import COOKIE, VISITOR, Desk, browser_of, desk_of, give_cookie, new_visitor, see_other

router = APIRouter()

WRONG = "Person and passphrase do not fit."


@router.get("/signin")
def show(request: Request) -> Response:
    desk = desk_of(request)
    if desk.actor_or_none(request) is not None:
        return see_other("/")
    return _form(desk, request)


@router.post("/signin")
def sign_in(
    request: Request,
    nonce: Annotated[str, Form(max_length=200)],
    person: Annotated[str, Form(max_length=200)] = "",
    passphrase: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    desk = desk_of(request)
    if not desk.sessions.sign_in_nonce_fits(request.cookies.get(VISITOR, ""), nonce):
        return _form(
            desk, request, person, "This form is too old, or your browser refuses cookies. Try again.", 403
        )
    if wait := desk.limiter.wait(person):
        return _too_many(desk, request, person, wait)
    if not knows(desk, person, passphrase):
        desk.limiter.failed(person)
        return _form(desk, request, person, WRONG, 403)
    desk.limiter.succeeded(person)
    desk.sessions.close(request.cookies.get(COOKIE, ""))
    answer = see_other("/")
    key = desk.people()[person].public_key
    give_cookie(answer, COOKIE, desk.sessions.open(person, key, browser_of(request)))
    answer.delete_cookie(VISITOR, path="/", httponly=True, samesite="strict")
    return answer


@router.post("/signout")
def sign_out(request: Request, token: Annotated[str, Form(max_length=200)]) -> Response:
    desk = desk_of(request)
    if desk.actor(request).session.token == token:
        desk.sessions.close(request.cookies.get(COOKIE, ""))
    answer = see_other("/signin")
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def knows(desk: Desk, person: str, passphrase: str) -> bool:
    """For a name that nobody has, somebody's key is tried in vain: the answer takes as long."""
    people = desk.people()
    tried = person if person in people else next(iter(people), None)
    if tried is None:
        return False
    return desk.consent.check_passphrase(tried, passphrase) and tried == person


def _too_many(desk: Desk, request: Request, person: str, wait: float) -> Response:
    minutes = int(wait // 60) + 1
    error = f"Too many tries. The next one is heard in {minutes} minute{'s' if minutes > 1 else ''}."
    answer = _form(desk, request, person, error, 429)
    answer.headers["retry-after"] = str(int(wait) + 1)
    return answer


def _form(desk: Desk, request: Request, person: str = "", error: str = "", status: int = 200) -> Response:
    visitor = request.cookies.get(VISITOR, "") or new_visitor()
    answer = desk.page(
        "signin.html",
        None,
        status=status,
        person=person,
        error=error,
        nonce=desk.sessions.sign_in_nonce(visitor),
        nobody=not desk.people(),
    )
    give_cookie(answer, VISITOR, visitor)
    return answer
