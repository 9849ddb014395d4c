"""A browser at the page, for tests."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from web_world import CHEAP, IMAGE, PASSPHRASE, World

from evolve.passwords import StoredHashes
from evolve.tables import CandidateRow
from evolve.web.app import create_app

PORT = 8711
ORIGIN = f"http://127.0.0.1:{PORT}"
OWN = {"origin": ORIGIN, "sec-fetch-site": "same-origin", "sec-fetch-dest": "document"}
DIGITS = IMAGE[-8:]
ROUTES: dict[int, APIRouter] = {}
"""Those of the first page serve every page: making them costs more than any visit, and who asks is found at the desk."""


@dataclass
class Visit:
    """A browser at the page."""

    client: TestClient
    world: World

    @property
    def page(self) -> str:
        return f"/candidates/{self.world.candidate_id}"

    def sign_in(self, person: str = "ada", passphrase: str = PASSPHRASE) -> httpx2.Response:
        nonce = field(self.client.get("/signin").text, "nonce")
        form = {"nonce": nonce, "person": person, "passphrase": passphrase}
        return self.client.post("/signin", data=form, headers=OWN)

    def nonce(self, deed: str = "approve") -> str:
        html = self.client.get(self.page).text
        form = re.search(rf'<form[^>]*action="[^"]*/{deed}".*?</form>', html, re.DOTALL)
        assert form, f"no form to {deed}"
        return field(form.group(), "nonce")

    def approve(self, headers: dict[str, str] | None = None, **changes: str) -> httpx2.Response:
        form = {"reason": "read it all", "digits": DIGITS, "passphrase": PASSPHRASE, **changes}
        if "nonce" not in form:
            form["nonce"] = self.nonce()
        return self.client.post(
            f"{self.page}/approve", data=form, headers=OWN if headers is None else headers
        )


def field(html: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found, f"no field {name}"
    return found.group(1)


def reset(world: World) -> None:
    with world.store.write() as session:
        row = session.get_one(CandidateRow, world.candidate_id)
        row.state, row.decided_by, row.decided_reason, row.approval_digest = "ready", "", "", None
        session.add(row)


def make_page(world: World, desk: Mapping[str, object] | None = None, **options: Any) -> FastAPI:
    """With what `create_app` is given, and with parts of its `desk` replaced."""
    people = options.get("people") or (lambda: world.settings.consent.people)
    options = {"knows": StoredHashes(people, CHEAP), **options}
    app = create_app(world.settings, world.store, world.book.consent, port=PORT, **options)
    app.state.desk = replace(app.state.desk, **(desk or {}))
    app.router = ROUTES.setdefault(PORT, app.router)
    return app


@contextmanager
def visitor(page: FastAPI, world: World) -> Iterator[Visit]:
    """A browser of its own at a page that others visit, too."""
    with TestClient(page, base_url=ORIGIN, follow_redirects=False) as client:
        yield Visit(client, world)


@contextmanager
def visiting(world: World, desk: Mapping[str, object] | None = None, **options: Any) -> Iterator[Visit]:
    """A page of its own."""
    with visitor(make_page(world, desk, **options), world) as found:
        yield found
