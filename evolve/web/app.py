"""The approval page, server-rendered and needing no script, and the control API beside it. GET looks; POST acts, after
asking who."""

from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from evidence.store import Store
from evolve.errors import BadInput, Broken, EvolveError, NotFound
from evolve.passwords import PasswordVerifier, StoredHashes
from evolve.settings import Person, Settings
from evolve.web import decisions, pages, runs, signin, swaps
from evolve.web.api import deciding, document, reading
from evolve.web.api.answers import API, failure, first_problem
from evolve.web.consent import Consent
from evolve.web.desk import Desk, SignedOut, see_other
from evolve.web.render import ICON, SCRIPT, STYLE
from evolve.web.shield import HEADERS, Shield

STATIC_AGE = "private, max-age=86400, immutable"


def create_app(
    settings: Settings,
    store: Store,
    consent: Consent,
    *,
    port: int | None = None,
    people: Callable[[], Mapping[str, Person]] | None = None,
    knows: PasswordVerifier | None = None,
) -> FastAPI:
    """The page as an ASGI application. `port`: the one that the Host header must name. `people`: asked at
    every request, so that a removed person is out at once; by default those of `settings`. `knows`: who checks a
    sign-in; by default the hashes of `people`."""
    everybody = people or (lambda: settings.consent.people)
    desk = Desk(settings, store, consent, everybody, knows or StoredHashes(everybody))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.desk = desk
    app.add_middleware(Shield, port=port)
    for router in (signin.router, pages.router, runs.router, decisions.router, swaps.router):
        app.include_router(router)
    for router in (document.router, reading.router, deciding.router):
        app.include_router(router)
    _add_static(app)
    _add_failures(app, desk)
    return app


def _add_static(app: FastAPI) -> None:
    def add(name: str, data: bytes, kind: str) -> None:
        def file() -> Response:
            return Response(data, media_type=kind, headers={"cache-control": STATIC_AGE})

        app.add_api_route(f"/static/{name}", file, methods=["GET"])

    def robots() -> PlainTextResponse:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    add("page.css", STYLE, "text/css")
    add("icon.svg", ICON, "image/svg+xml")
    add("htmx.min.js", SCRIPT, "text/javascript")
    app.add_api_route("/robots.txt", robots, methods=["GET"])


def _add_failures(app: FastAPI, desk: Desk) -> None:
    """An error as a page, or under /api/ as the envelope."""

    def say(
        request: Request,
        error: EvolveError,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        if request.url.path.startswith(API):
            return failure(error, status, headers)
        return desk.failure(desk.actor_or_none(request), error, status)

    async def signed_out(request: Request, error: Exception) -> Response:
        return see_other("/signin")

    async def ours(request: Request, error: Exception) -> Response:
        if not isinstance(error, EvolveError):
            raise error
        return say(request, error)

    async def unfit(request: Request, error: Exception) -> Response:
        if request.url.path.startswith(API) and isinstance(error, RequestValidationError):
            return failure(BadInput(first_problem(error), hint="/api/v1/openapi.json says what fits"), 422)
        return say(request, BadInput("The form is not complete."))

    async def not_routed(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        if error.status_code == 404:
            return say(request, NotFound("There is nothing at this address."))
        return say(request, BadInput(f"{error.detail}."), error.status_code, error.headers)

    async def crashed(request: Request, error: Exception) -> Response:
        # Answers from outside of the shield, so it brings the shield's headers along; the server's log has
        # the trace.
        answer = say(request, Broken("This failed.", hint="The log of `evolve serve` says why."), 500)
        answer.headers.update(HEADERS)
        return answer

    app.add_exception_handler(Exception, crashed)
    app.add_exception_handler(SignedOut, signed_out)
    app.add_exception_handler(EvolveError, ours)
    app.add_exception_handler(RequestValidationError, unfit)
    app.add_exception_handler(HTTPException, not_routed)
