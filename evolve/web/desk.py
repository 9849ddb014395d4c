"""The desk behind every page: who asks, what they may do, and how an answer is drawn."""

import secrets
import threading
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


class SignedOut(Exception):
    """Nobody is signed in behind this request."""


class TooManyTries(NeedsConsent):
    """A guesser has to wait, and so has who looks like one."""

    def __init__(self, wait: float) -> None:
        super().__init__(say_wait(wait))
        self.wait = wait


_STATUS: tuple[tuple[type[EvolveError], int, str], ...] = (
    (TooManyTries, 429, "Too many tries"),
    (NotFound, 404, "Not found"),
    (BadInput, 400, "That was not understood"),
    (NeedsConsent, 403, "This needs somebody's consent"),
    (Broken, 503, "Something here is broken"),
    (Refused, 409, "Refused"),
)


@dataclass(frozen=True)
class Caller:
    """A person who proved to be one, with the roles that the settings give now."""

    person: str
    roles: tuple[Role, ...]

    @property
    def may_decide(self) -> bool:
        return bool(MAY_APPROVE & set(self.roles))


@dataclass(frozen=True)
class Actor(Caller):
    """A caller with a browser's session."""

    session: Session


@dataclass(frozen=True)
class Desk:
    settings: Settings
    store: Store
    consent: Consent
    people: Callable[[], Mapping[str, Person]]
    knows: PasswordVerifier
    sessions: Sessions = field(default_factory=Sessions)
    one_at_the_door: threading.Lock = field(default_factory=threading.Lock)
    at_the_door: Limiter = field(default_factory=Limiter)
    at_the_desk: Limiter = field(default_factory=Limiter)
    """Apart from the door's: who guesses there must not keep approvers from deciding."""
    templates: Environment = field(default_factory=make_environment)

    @property
    def settings_now(self) -> Settings:
        """With the people as they are now."""
        consent = self.settings.consent.model_copy(update={"people": dict(self.people())})
        return self.settings.model_copy(update={"consent": consent})

    def recognise(self, person: str, passphrase: str, address: str) -> Person | None:
        """Who this is, if the passphrase fits. Raises TooManyTries. One is asked after the other, so that somebody's
        right passphrases at the same time are not counted as guesses."""
        with self.one_at_the_door:
            if wait := self.at_the_door.take(person, address):
                raise TooManyTries(wait)
            known = self.people().get(person)
            if not self.knows(person, passphrase) or known is None:
                return None
            self.at_the_door.succeeded(person)
            return known

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

    def page(
        self,
        template: str,
        actor: Actor | None,
        error: EvolveError | None = None,
        /,
        status: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """`error`: what went wrong with the form that was sent; it decides the status."""
        values = {"refresh": 0, "error": sentence(error) if error else "", **values}
        html = self.templates.get_template(template).render(actor=actor, **values)
        return HTMLResponse(
            html,
            status_code=status_of(error)[0] if error else status,
            headers=retry_after(error.wait) if isinstance(error, TooManyTries) else None,
        )

    def failure(self, actor: Actor | None, error: EvolveError, status: int | None = None) -> HTMLResponse:
        """One error as a page, in the words that the CLI would use."""
        usual, title = status_of(error)
        return self.page(
            "error.html", actor, status=status or usual, title=title, message=error.message, hint=error.hint
        )


def status_of(error: EvolveError) -> tuple[int, str]:
    """HTTP's number for an error, and a title."""
    return next(
        ((status, title) for kind, status, title in _STATUS if isinstance(error, kind)), (500, "Failed")
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


def as_attachment(data: bytes, name: str) -> Response:
    """To save; never to be interpreted by a browser."""
    return Response(
        data, media_type="text/plain", headers={"content-disposition": f'attachment; filename="{name}"'}
    )
