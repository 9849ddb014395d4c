"""How the API says no: the CLI's envelope, with HTTP's number for it; and what the document says about that."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from evolve.errors import ERROR_KINDS, BadInput, Broken, EvolveError, NeedsConsent, NotFound, Refused
from evolve.sanitize import one_line
from evolve.web.desk import TooManyTries, retry_after, status_of

API = "/api/"
CHALLENGE = 'xBasic realm="evolve", charset="UTF-8"'
"""Not the scheme's own name, at which a browser would ask for a passphrase and then send it along for ever."""

Kind = Literal["refused", "bad_input", "not_found", "needs_consent", "broken"]
KINDS = {kind.kind: kind for kind in (Refused, BadInput, NotFound, NeedsConsent, Broken)}
assert set(KINDS) == set(ERROR_KINDS)


class Failure(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Kind
    message: str = Field(description="What is wrong, and where, in one line.")
    hint: str = Field(description="What to do; may be empty.")


class Envelope(BaseModel):
    """What every request that is not answered gets; the CLI's `--json` says it in the same words."""

    model_config = ConfigDict(extra="forbid")

    error: Failure


class NotSignedIn(NeedsConsent):
    """The request does not say who asks, or not rightly."""


def failure(
    error: EvolveError, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """`status`: where HTTP has a better number than the kind of the error."""
    status = status or (401 if isinstance(error, NotSignedIn) else status_of(error)[0])
    headers = dict(headers or {})
    if status == 401:
        headers["www-authenticate"] = CHALLENGE
    if isinstance(error, TooManyTries):
        headers.update(retry_after(error.wait))
    # In ASCII: what is quoted may hold halves of characters, which no encoding takes.
    body = json.dumps(error.envelope).encode("ascii")
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def first_problem(error: RequestValidationError) -> str:
    """Where the request does not fit and why, without what was sent: a passphrase may be in it."""
    first = error.errors()[0]
    place = ".".join(one_line(str(part), 60) for part in first["loc"])
    return f"{place}: {first['msg']}"


def _declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": Envelope, **_HEADERS.get(status, {}), "description": _MEANING[status]}
        for status in statuses
    }


_MEANING = {
    400: "What was given can't be used.",
    401: "Nobody has proved who asks.",
    403: "It takes another person, another role, or the right passphrase.",
    404: "There is no such thing.",
    405: "This path does not know the method.",
    409: "Refused: the state of things says no.",
    411: "The length of the body is missing.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    421: "Only the loopback address is answered.",
    422: "The request is not what this document asks for.",
    429: "Too many wrong passphrases; Retry-After says in how many seconds the next one is heard.",
    500: "The API failed; the log of `evolve serve` says why.",
    503: "Something that this needs does not answer.",
}
_HEADERS = {
    401: {"headers": {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}},
    405: {"headers": {"Allow": {"schema": {"type": "string"}, "required": True}}},
    429: {"headers": {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}}},
}

ALWAYS = _declared(400, 401, 403, 404, 405, 411, 413, 421, 422, 429, 500, 503)
TO_A_DEED = {**ALWAYS, **_declared(409, 415)}
