"""Signing in and out. Whoever is asked whether the person is who they say they are, it is not the person's key."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from evolve.web.desk import (
    COOKIE,
    VISITOR,
    Desk,
    TooManyTries,
    address_of,
    browser_of,
    credentials,
    desk_of,
    give_cookie,
    new_visitor,
    retry_after,
    see_other,
)

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
    try:
        known = desk.recognise(person, passphrase, address_of(request))
    except TooManyTries as error:
        return _too_many(desk, request, person, error)
    if known is None:
        return _form(desk, request, person, WRONG, 403)
    desk.sessions.close(request.cookies.get(COOKIE, ""))
    answer = see_other("/")
    key = credentials(known)
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


def _too_many(desk: Desk, request: Request, person: str, error: TooManyTries) -> Response:
    answer = _form(desk, request, person, error.message, 429)
    answer.headers.update(retry_after(error.wait))
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
