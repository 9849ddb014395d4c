"""Every route of the page and of its API, for every role, signed out and signed in. A route that is not in the table
fails the test."""

from collections.abc import Iterable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute
from web_visit import DIGITS, OWN, Visit, field, make_page, reset, visitor
from web_world import PASSPHRASE, World, add_swap, make_home, make_world

from evolve.journal import get_swap
from evolve.story import candidate_story
from evolve.web.decisions import act_of
from evolve.web.desk import COOKIE
from evolve.web.live import STOP_POLLING
from evolve.web.swaps import act_of as rollback_of

PEOPLE = {"viewer": "vera", "operator": "olga", "approver": "alan", "admin": "adam"}
"""Each has this one role alone."""
SWAP = "swap-moving"
LOOKING = dict.fromkeys(PEOPLE, 200)
DECIDING = {"viewer": 403, "operator": 403, "approver": 303, "admin": 303}
PUBLIC = (200, LOOKING)
PAGE = ("/signin", LOOKING)
DECISION = ("/signin", DECIDING)
RECORD = (401, LOOKING)
DEED = (401, {"viewer": 403, "operator": 403, "approver": 200, "admin": 200})

TABLE: dict[tuple[str, str], tuple[int | str, dict[str, int]]] = {
    ("GET", "/signin"): (200, dict.fromkeys(PEOPLE, 303)),
    ("POST", "/signin"): (303, dict.fromkeys(PEOPLE, 303)),
    ("POST", "/signout"): ("/signin", dict.fromkeys(PEOPLE, 303)),
    ("GET", "/"): PAGE,
    ("GET", "/batches"): PAGE,
    ("GET", "/batches/{batch_id}"): PAGE,
    ("GET", "/runs"): PAGE,
    ("GET", "/runs/{run_id}"): PAGE,
    ("GET", "/runs/{run_id}/live"): (200, dict.fromkeys(PEOPLE, STOP_POLLING)),
    ("GET", "/runs/{run_id}/proposals/{iteration}/{number}"): PAGE,
    ("GET", "/runs/{run_id}/proposals/{iteration}/{number}/{round_number}/diff"): PAGE,
    ("GET", "/candidates/{candidate_id}"): PAGE,
    ("GET", "/candidates/{candidate_id}/diff"): PAGE,
    ("GET", "/workflows"): PAGE,
    ("GET", "/history"): PAGE,
    ("GET", "/swaps/{swap_id}"): PAGE,
    ("GET", "/swaps/{swap_id}/steps"): PUBLIC,
    ("POST", "/swaps/{swap_id}/rollback"): DECISION,
    ("POST", "/candidates/{candidate_id}/approve"): DECISION,
    ("POST", "/candidates/{candidate_id}/decline"): DECISION,
    ("GET", "/static/page.css"): PUBLIC,
    ("GET", "/static/icon.svg"): PUBLIC,
    ("GET", "/static/htmx.min.js"): PUBLIC,
    ("GET", "/robots.txt"): PUBLIC,
    ("GET", "/api/v1/openapi.json"): PUBLIC,
    ("GET", "/api/v1/me"): RECORD,
    ("GET", "/api/v1/people"): RECORD,
    ("GET", "/api/v1/waiting"): RECORD,
    ("GET", "/api/v1/batches"): RECORD,
    ("GET", "/api/v1/batches/{batch_id}"): RECORD,
    ("GET", "/api/v1/batches/{batch_id}/evidence"): RECORD,
    ("GET", "/api/v1/runs"): RECORD,
    ("GET", "/api/v1/runs/{run_id}"): RECORD,
    ("GET", "/api/v1/runs/{run_id}/population"): RECORD,
    ("GET", "/api/v1/candidates"): RECORD,
    ("GET", "/api/v1/candidates/{candidate_id}"): RECORD,
    ("GET", "/api/v1/candidates/{candidate_id}/diff"): RECORD,
    ("GET", "/api/v1/swaps"): RECORD,
    ("GET", "/api/v1/swaps/{swap_id}"): RECORD,
    ("GET", "/api/v1/workflows"): RECORD,
    ("GET", "/api/v1/history"): RECORD,
    ("POST", "/api/v1/candidates/{candidate_id}/approve"): DEED,
    ("POST", "/api/v1/candidates/{candidate_id}/decline"): DEED,
    ("POST", "/api/v1/swaps/{swap_id}/rollback"): DEED,
}
# Without a session steps and live part are empty and send the script to sign in: test_web_swaps.py, test_web_runs.py.
"""(method, path) -> what somebody without a session gets (a status, or where they are sent), and each role with one."""


def routes(found: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Nested ones, too; what this does not know how to read is an error, not a route less."""
    for route in found:
        inner: Any = getattr(route, "original_router", None) or route
        if isinstance(getattr(inner, "routes", None), list):
            yield from routes(inner.routes)
        else:
            yield from ((method, inner.path) for method in inner.methods)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("routes") / "home"), regression=2)
    add_swap(built, SWAP, "ACCEPTED")
    yield built
    built.close()


@pytest.fixture(scope="module")
def page(world: World) -> FastAPI:
    return make_page(world)


@pytest.fixture
def visit(world: World, page: FastAPI) -> Iterator[Visit]:
    world.book.approved.clear()
    world.book.declined.clear()
    world.book.rolled_back.clear()
    reset(world)
    with visitor(page, world) as found:
        yield found


def test_every_route_is_in_the_table(visit: Visit) -> None:
    app = visit.client.app
    assert isinstance(app, FastAPI)
    assert set(routes(app.routes)) == set(TABLE)


def test_people_have_the_role_that_they_stand_for(world: World) -> None:
    assert {r: world.settings.consent.people[p].roles for r, p in PEOPLE.items()} == {r: (r,) for r in PEOPLE}


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize(("method", "path"), TABLE)
def test_what_a_role_gets(visit: Visit, method: str, path: str, role: str) -> None:
    """With everything else right: the form complete, its nonce issued for this session and deed, the passphrase."""
    visit.sign_in(PEOPLE[role])
    wanted = TABLE[method, path][1][role]
    answer = ask(visit, method, path, PEOPLE[role])
    assert answer.status_code == wanted, answer.text
    assert visit.world.book.decisions == (path.endswith(("/approve", "/decline")) and wanted in (200, 303))
    assert len(visit.world.book.rolled_back) == (path.endswith("/rollback") and wanted in (200, 303))


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [(*route, role) for route in TABLE for role in PEOPLE if route[0] == "POST" or role == "admin"],
)
def test_what_anybody_gets_without_a_session(visit: Visit, method: str, path: str, role: str) -> None:
    """Whoever it is: the form was right while they were signed in, and they are not any more."""
    visit.sign_in(PEOPLE[role])
    form = {} if path.startswith("/api/") else form_for(visit, path, PEOPLE[role])
    token = field(visit.client.get("/").text, "token")
    visit.client.post("/signout", data={"token": token}, headers=OWN)
    wanted = TABLE[method, path][0]
    if path == "/signin":
        form["nonce"] = field(visit.client.get("/signin").text, "nonce")
    answer = ask(visit, method, path, PEOPLE[role], form)
    if isinstance(wanted, str):
        assert (answer.status_code, answer.headers["location"]) == (303, wanted)
    else:
        assert answer.status_code == wanted
    assert visit.world.book.decisions == 0


@pytest.mark.parametrize("role", [role for role, status in DECIDING.items() if status == 303])
@pytest.mark.parametrize("deed", ["approve", "decline"])
def test_every_decision_has_a_reason(visit: Visit, role: str, deed: str) -> None:
    visit.sign_in(PEOPLE[role])
    path = f"/candidates/{{candidate_id}}/{deed}"
    for reason in ("", "  ", "\t\n", "ok"):
        form = {**form_for(visit, path, PEOPLE[role]), "reason": reason}
        answer = ask(visit, "POST", path, PEOPLE[role], form)
        assert (answer.status_code, visit.world.book.decisions) == (400, 0), reason
        assert "Give a reason" in answer.text


def ask(
    visit: Visit, method: str, path: str, person: str, form: dict[str, str] | None = None
) -> httpx2.Response:
    world = visit.world
    url = path.format(
        batch_id=world.batch_id,
        run_id=world.run_id,
        candidate_id=world.candidate_id,
        swap_id=SWAP,
        iteration=1,
        number=1,
        round_number=0,
    )
    if path.startswith("/api/"):
        auth = (person, PASSPHRASE) if form is None else None
        body = None if method == "GET" else body_for(path)
        return visit.client.request(method, url, auth=auth, json=body)
    if method == "GET":
        return visit.client.get(url)
    return visit.client.post(url, data=form_for(visit, path, person) if form is None else form, headers=OWN)


def body_for(path: str) -> dict[str, str]:
    deed = path.rpartition("/")[2]
    digits = {"digits": DIGITS} if deed == "approve" else {}
    passphrase = {} if deed == "decline" else {"passphrase": PASSPHRASE}
    return {"reason": "read it all", **digits, **passphrase}


def form_for(visit: Visit, path: str, person: str) -> dict[str, str]:
    """A form that nothing is wrong with. The page would not show it to everybody, so its nonce comes from the desk."""
    app = visit.client.app
    assert isinstance(app, FastAPI)
    desk = app.state.desk
    session = desk.sessions.find(visit.client.cookies[COOKIE], visit.client.headers["user-agent"])
    deed = path.rpartition("/")[2]
    if deed in ("approve", "decline"):
        story = candidate_story(desk.settings, desk.store, visit.world.candidate_id)
        nonce = desk.sessions.issue(session, act_of(deed, story))
        return {"nonce": nonce, "reason": "read it all", "digits": DIGITS, "passphrase": PASSPHRASE}
    if deed == "rollback":
        nonce = desk.sessions.issue(session, rollback_of(get_swap(desk.settings, SWAP)))
        return {"nonce": nonce, "reason": "it answers slowly", "passphrase": PASSPHRASE}
    if deed == "signout":
        return {"token": session.token}
    visitor = visit.client.cookies.get("evolve_visitor") or "a visitor"
    visit.client.cookies.set("evolve_visitor", visitor, domain="127.0.0.1")
    return {"nonce": desk.sessions.sign_in_nonce(visitor), "person": person, "passphrase": PASSPHRASE}
