"""The API's description of itself, for whoever writes a client."""

from functools import lru_cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from evolve.web.api import deciding, reading

router = APIRouter(include_in_schema=False)

DESCRIPTION = """\
What the page shows and does, for scripts. It answers on the page's address: loopback only.

Each request carries a registered person's name and passphrase by HTTP Basic; cookies are not looked at, and a request that a
browser sends for another site is refused. Wrong passphrases are counted as at the page's sign-in. Nothing but a POST changes
anything, and each POST gives a reason. Texts that a user, a model or a candidate wrote come as they are: show them as text.
"""


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    whole = get_openapi(
        title="evolve",
        version=version("evolving-harness"),
        description=DESCRIPTION,
        routes=[*reading.router.routes, *deciding.router.routes],
        servers=[{"url": "/"}],
    )
    return _failures_once(whole)


def _failures_once(whole: dict[str, Any]) -> dict[str, Any]:
    """Every operation can fail in the same ways: they are described in one place."""
    shared: dict[str, Any] = {}
    for operation in (operation for path in whole["paths"].values() for operation in path.values()):
        for status in operation["responses"]:
            if status.startswith(("4", "5")):
                shared[status] = operation["responses"][status]
                operation["responses"][status] = {"$ref": f"#/components/responses/{status}"}
    whole["components"]["responses"] = dict(sorted(shared.items()))
    return whole


@router.get("/api/v1/openapi.json")
def openapi() -> dict[str, Any]:
    return document()
