"""What every request meets before a page is asked, and what every answer carries.

The page can lead to a signature, so the browser is told to trust nothing: no script at all (the pages have
none), no frames, no other origin, no cache. A request that changes something must say that it comes from this
very origin, in headers that no script or form of another site can set. A program need not say where it comes from, and asks
the API; what a browser sends there for another site is refused, to look as well as to act.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evolve.errors import BadInput
from evolve.web.api.answers import API, failure

MAX_BODY = 16 * 1024
MAX_JSON = 40 * 1024
"""The longest reason and passphrase fit, each character written as an escape."""
FORM = "application/x-www-form-urlencoded"

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; script-src 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: that makes browsers send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=(), clipboard-write=()",
    "cache-control": "no-store",
}


class Shield:
    """ASGI middleware. `port` None: the Host header's port is not compared (the caller has not bound one
    yet)."""

    def __init__(self, app: ASGIApp, port: int | None) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        for_program = scope["path"].startswith(API)
        refusal = self._refusal(scope["method"], headers, for_program)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, why = refusal
        answer = failure(BadInput(why), status) if for_program else _in_words(status, why)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers, for_program: bool) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _is_ours(hosts[0], self._port):
            return 421, "this page answers to its loopback address only"
        if for_program:
            return _foreign(hosts[0], headers) or _unfit_length(headers, MAX_JSON)
        if method == "GET":
            return None
        if method != "POST":
            return 405, "GET looks, POST acts, nothing else is understood"
        return _forged(hosts[0], headers) or _unfit_form(headers)


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def _is_ours(host: str, port: int | None) -> bool:
    name, colon, number = host.rpartition(":")
    if not colon or name not in LOOPBACK:
        return False
    return _is_number(number, 5) and (port is None or int(number) == port)


def _is_number(text: str, longest: int) -> bool:
    """Python refuses to read one of thousands of digits, which anybody may send."""
    return len(text) <= longest and text.isascii() and text.isdigit()


def _forged(host: str, headers: Headers) -> tuple[int, str] | None:
    """Every header that speaks of the sender must name this origin, and at least one must be there."""
    sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    if not sites and not origins:
        return 403, "the request does not say which page it comes from"
    if foreign := _foreign(host, headers, sites=("same-origin",)):
        return foreign
    if any(dest != "document" for dest in headers.getlist("sec-fetch-dest")):
        return 403, "forms are sent by a person, as a page of their own"
    return None


def _foreign(
    host: str, headers: Headers, sites: tuple[str, ...] = ("same-origin", "none")
) -> tuple[int, str] | None:
    """`none` is what a browser says of an address that a person typed."""
    if any(site not in sites for site in headers.getlist("sec-fetch-site")):
        return 403, "the request comes from another site"
    if any(origin != f"http://{host}" for origin in headers.getlist("origin")):
        return 403, "the request comes from another origin"
    return None


def _unfit_form(headers: Headers) -> tuple[int, str] | None:
    if headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
        return 415, "forms only"
    if "content-length" not in headers:
        return 411, "the length of the form is missing"
    return _unfit_length(headers, MAX_BODY)


def _unfit_length(headers: Headers, most: int) -> tuple[int, str] | None:
    length = headers.get("content-length", "0")
    if not _is_number(length, 15) or "transfer-encoding" in headers:
        return 411, "the length of the body is missing"
    if int(length) > most:
        return 413, f"the body is longer than {most} bytes"
    return None


def _in_words(status: int, why: str) -> PlainTextResponse:
    return PlainTextResponse(f"Refused: {why}\n", status_code=status)
