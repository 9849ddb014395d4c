"""What moves while it is looked at: a pinned htmx asks for that part of a page again and again; without a script the page
asks as a whole. Only such pages let a script in, that one alone and nothing inline; nothing that is signed stands on them.
"""

from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse, Response

from evolve.web.desk import Desk
from evolve.web.shield import POLICY

LIVE_SECONDS = 2
STOP_POLLING = 286
"""What htmx understands as: take this, and do not ask again."""
SCRIPT_POLICY = POLICY.replace(
    "script-src 'none'; require-trusted-types-for 'script'", "script-src 'self'; connect-src 'self'"
)


def wants_live(request: Request) -> bool:
    """`?live=off` stops what moves, for whoever reads or listens."""
    return request.query_params.get("live") != "off"


def let_script_in(answer: Response) -> Response:
    answer.headers["content-security-policy"] = SCRIPT_POLICY
    return answer


def signed_out_part() -> Response:
    """A script that is signed out is sent to the sign-in page as a whole."""
    return Response(headers={"hx-redirect": "/signin"})


def part(desk: Desk, template: str, moving: bool, **values: Any) -> Response:
    """The part of a page that changes, for the script that asks for it."""
    html = desk.templates.get_template(template).render(live=moving, **values)
    return HTMLResponse(html, status_code=200 if moving else STOP_POLLING)
