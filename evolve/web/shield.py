"""What every request meets before a page is asked, and what every answer carries.

The page can lead to a signature, so the browser is told to trust nothing: no script at all (the pages have
none), no frames, no other origin, no cache. A request that changes something must say that it comes from this
very origin, in headers that no script or form of another site can set.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 16 * 1024
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

        refusal = self._refusal(scope["method"], headers)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, why = refusal
        await PlainTextResponse(f"Refused: {why}\n", status_code=status)(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _is_ours(hosts[0], self._port):
            return 421, "this page answers to its loopback address only"
        if method == "GET":
            return None
        if method != "POST":
            return 405, "GET looks, POST acts, nothing else is understood"
        return _forged(hosts[0], headers) or _unfit_body(headers)


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def _is_ours(host: str, port: int | None) -> bool:
    name, colon, number = host.rpartition(":")
    if not colon or name not in LOOPBACK:
        return False
    return number.isascii() and number.isdigit() and (port is None or int(number) == port)


def _forged(host: str, headers: Headers) -> tuple[int, str] | None:
    """Every header that speaks of the sender must name this origin, and at least one must be there."""
    sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    if not sites and not origins:
        return 403, "the request does not say which page it comes from"
    if any(site != "same-origin" for site in sites):
        return 403, "the request comes from another site"
    if any(origin != f"http://{host}" for origin in origins):
        return 403, "the request comes from another origin"
    if any(dest != "document" for dest in headers.getlist("sec-fetch-dest")):
        return 403, "forms are sent by a person, as a page of their own"
    return None


def _unfit_body(headers: Headers) -> tuple[int, str] | None:
    if headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
        return 415, "forms only"
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return 411, "the length of the form is missing"
    if int(length) > MAX_BODY:
        return 413, "the form is too long"
    return None
