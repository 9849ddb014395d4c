"""The desk behind every page: who asks, what they may do, and how an answer is drawn."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from evidence.store import Store
from evolve.errors import BadInput, Broken, EvolveError, NeedsConsent, NotFound, Refused
from evolve.passwords import PasswordVerifier
from evolve.settings import Person, Settings
from evolve.web.consent import Consent
from evolve.web.render import make_environment
from evolve.web.sessions import Limiter, Session, Sessions
from promote.policy import MAY_APPROVE, Role

COOKIE = "evolve_session"
VISITOR = "evolve_visitor"

_STATUS: tuple[tuple[type[EvolveError], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (BadInput, 400, "That was not understood"),
    (NeedsConsent, 403, "This needs somebody's consent"),
    (Broken, 503, "Something here is broken"),
    (Refused, 409, "Refused"),
)


class SignedOut(Exception):
    """Nobody is signed in behind this request."""


@dataclass(frozen=True)
class Actor:
    """A signed-in person, with the roles that the settings give now."""

    person: str
    roles: tuple[Role, ...]
    session: Session

    @property
    def may_decide(self) -> bool:
        return bool(MAY_APPROVE & set(self.roles))


@dataclass(frozen=True)
class Desk:
    settings: Settings
    store: Store
    consent: Consent
    people: Callable[[], Mapping[str, Person]]
    knows: PasswordVerifier
    sessions: Sessions = field(default_factory=Sessions)
    at_the_door: Limiter = field(default_factory=Limiter)
    at_the_desk: Limiter = field(default_factory=Limiter)
    """Apart from the door's: who guesses there must not keep approvers from deciding."""
    templates: Environment = field(default_factory=make_environment)

    @property
    def settings_now(self) -> Settings:
        """With the people as they are now."""
        consent = self.settings.consent.model_copy(update={"people": dict(self.people())})
        return self.settings.model_copy(update={"consent": consent})

    def actor(self, request: Request) -> Actor:
        """Raises SignedOut, also when the person was removed or has another key by now."""
        cookie = request.cookies.get(COOKIE, "")
        session = self.sessions.find(cookie, browser_of(request), used=_by_hand(request))
        if session is None:
            raise SignedOut
        person = self.people().get(session.person)
        if person is None or credentials(person) != session.key or not person.roles:
            self.sessions.close(cookie)
            raise SignedOut
        return Actor(session.person, tuple(person.roles), session)

    def actor_or_none(self, request: Request) -> Actor | None:
        try:
            return self.actor(request)
        except SignedOut:
            return None

    def page(self, template: str, actor: Actor | None, /, status: int = 200, **values: Any) -> HTMLResponse:
        values.setdefault("refresh", 0)
        html = self.templates.get_template(template).render(actor=actor, **values)
        return HTMLResponse(html, status_code=status)

    def failure(self, actor: Actor | None, error: EvolveError) -> HTMLResponse:
        """One error as a page, in the words that the CLI would use."""
        status, title = next(((s, t) for kind, s, t in _STATUS if isinstance(error, kind)), (500, "Failed"))
        return self.page(
            "error.html", actor, status=status, title=title, message=error.message, hint=error.hint
        )


def signed_in(request: Request) -> None:
    """For every route that shows something. Raises SignedOut."""
    desk_of(request).actor(request)


def may_decide(request: Request) -> None:
    """For every route that decides something, asked before its form is read. Raises SignedOut, NeedsConsent."""
    if not desk_of(request).actor(request).may_decide:
        raise NeedsConsent("Deciding needs the role approver.")


def desk_of(request: Request) -> Desk:
    desk = request.app.state.desk
    if not isinstance(desk, Desk):
        raise TypeError("the application was not made by create_app")
    return desk


def credentials(person: Person) -> str:
    """What a session is bound to: it ends when either is replaced."""
    return f"{person.public_key} {person.sign_in.get_secret_value()}"


def _by_hand(request: Request) -> bool:
    """A page about something that moves asks again by itself, and would keep a session alive for ever. Browsers that say
    anything say when a person asked."""
    return "sec-fetch-site" not in request.headers or request.headers.get("sec-fetch-user") == "?1"


def address_of(request: Request) -> str:
    """Of the peer. All of this machine is one address: a program here can choose among millions."""
    host = request.client.host if request.client is not None else ""
    return "loopback" if host == "::1" or host.startswith("127.") else host


@dataclass(frozen=True)
class Unproven:
    """Why a decision is not heard: the person behind it did not show who they are."""

    status: int
    error: str
    headers: Mapping[str, str] = field(default_factory=dict)


def unproven(desk: Desk, actor: Actor, request: Request, passphrase: str) -> Unproven | None:
    """Asked last, for a wrong passphrase uses up one of the person's tries. None: it is this person."""
    if wait := desk.at_the_desk.take(actor.person, address_of(request)):
        return Unproven(429, say_wait(wait), retry_after(wait))
    if not desk.consent.check_passphrase(actor.person, passphrase):
        return Unproven(403, "That is not your passphrase. Nothing was done.")
    desk.at_the_desk.succeeded(actor.person)
    return None


def say_wait(seconds: float) -> str:
    minutes = int(seconds // 60) + 1
    return f"Too many tries. The next one is heard in {minutes} minute{'s' if minutes > 1 else ''}."


def retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(int(seconds) + 1)}


def browser_of(request: Request) -> str:
    return request.headers.get("user-agent", "")


def give_cookie(response: Response, name: str, value: str) -> None:
    """No expiry date: the browser forgets it when it closes, the server sooner. Not `Secure`: loopback has no
    TLS."""
    response.set_cookie(name, value, httponly=True, samesite="strict", path="/")


def new_visitor() -> str:
    return secrets.token_urlsafe(24)


def sentence(error: EvolveError) -> str:
    """What went wrong and what to do, in one."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


def see_other(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303)
