"""Who asks: a name and a passphrase with every request, by HTTP Basic. A cookie is nothing here."""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security.http import HTTPAuthorizationCredentials, HTTPBase

from evolve.errors import NeedsConsent
from evolve.web.api.answers import NotSignedIn
from evolve.web.desk import Caller, address_of, desk_of

LONGEST_PERSON, LONGEST_PASSPHRASE = 200, 1000

_basic = HTTPBase(
    scheme="basic",
    scheme_name="passphrase",
    description="Name and passphrase of a registered person, in UTF-8, with every request.",
    auto_error=False,
)


def caller(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_basic)]
) -> Caller:
    """Raises NotSignedIn, TooManyTries."""
    person, passphrase = _read(given)
    known = desk_of(request).recognise(person, passphrase, address_of(request))
    if known is None or not known.roles:
        raise NotSignedIn("person and passphrase do not fit")
    return Caller(person, tuple(known.roles))


def decider(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """Raises NeedsConsent."""
    if not who.may_decide:
        raise NeedsConsent("deciding needs the role approver")
    return who


Looking = Annotated[Caller, Depends(caller)]
Deciding = Annotated[Caller, Depends(decider)]


def _read(given: HTTPAuthorizationCredentials | None) -> tuple[str, str]:
    if given is None or given.scheme.lower() != "basic":
        raise NotSignedIn(
            "nobody is signed in", hint="name and passphrase, by HTTP Basic, with every request"
        )
    try:
        text = base64.b64decode(given.credentials, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise NotSignedIn(
            "the Authorization header can't be read", hint="base64 of name:passphrase in UTF-8"
        ) from None
    person, _, passphrase = text.partition(":")
    if len(person) > LONGEST_PERSON or len(passphrase) > LONGEST_PASSPHRASE:
        raise NotSignedIn("person and passphrase do not fit")
    return person, passphrase
