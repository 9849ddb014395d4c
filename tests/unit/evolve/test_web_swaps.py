"""A swap's page: what its one script may do, when it stops asking, and who may go back."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx2
import pytest
from fastapi.testclient import TestClient
from web_visit import OWN, field, visiting
from web_world import PASSPHRASE, World, add_swap, make_home, make_world

import promote
from evolve.errors import BadInput, Broken, NeedsConsent
from evolve.product import Product
from evolve.rollback import roll_back
from evolve.web.steps import STEPS, meaning
from promote.records import EndState

_ids = itertools.count()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("swaps") / "home"), regression=2)
    yield built
    built.close()


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    world.book.rolled_back.clear()
    with visiting(world) as visit:
        yield visit.client


@pytest.fixture
def moving(world: World) -> str:
    """The newest swap, half way."""
    swap = f"swap-moving-{next(_ids)}"
    add_swap(world, swap, "ACCEPTED", "PREFLIGHT", "HOLD")
    return swap


def sign_in(client: TestClient, person: str = "ada") -> None:
    form = {"nonce": field(client.get("/signin").text, "nonce"), "person": person, "passphrase": PASSPHRASE}
    assert client.post("/signin", data=form, headers=OWN).status_code == 303


def go_back(client: TestClient, swap: str, **changes: str) -> httpx2.Response:
    form = {"reason": "it answers slowly", "passphrase": PASSPHRASE, **changes}
    if "nonce" not in form:
        form["nonce"] = field(client.get(f"/swaps/{swap}").text, "nonce")
    return client.post(f"/swaps/{swap}/rollback", data=form, headers=OWN)


def test_only_a_swap_s_page_lets_a_script_in_and_only_ours(
    client: TestClient, moving: str, world: World
) -> None:
    sign_in(client)
    policy = client.get(f"/swaps/{moving}").headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "default-src 'none'" in policy
    for word in ("unsafe", "http:", "https:", "data:", "*"):
        assert word not in policy
    for path in ("/", f"/candidates/{world.candidate_id}", "/history", "/runs", f"/swaps/{moving}/steps"):
        assert "script-src 'none'" in client.get(path).headers["content-security-policy"], path
    html = client.get(f"/swaps/{moving}").text
    assert re.findall(r"<script[^>]*>(.*?)</script>", html) == [""], "one script, nothing inline"
    script = client.get("/static/htmx.min.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert 'version:"2.' in script.text


def test_a_moving_swap_asks_with_and_without_a_script(client: TestClient, moving: str) -> None:
    sign_in(client, "vera")
    html = client.get(f"/swaps/{moving}").text
    assert f'hx-get="/swaps/{moving}/steps" hx-trigger="every 2s"' in html
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in html
    still = client.get(f"/swaps/{moving}?live=off").text
    for word in ("<script", "hx-get", 'http-equiv="refresh"'):
        assert word not in still


def test_the_steps_come_alone_and_stop_when_the_swap_ends(
    client: TestClient, moving: str, world: World
) -> None:
    sign_in(client, "vera")
    part = client.get(f"/swaps/{moving}/steps")
    assert (part.status_code, "<html" in part.text) == (200, False)
    assert "hold" in part.text
    add_swap(world, moving, "committed")
    part = client.get(f"/swaps/{moving}/steps")
    assert part.status_code == 286
    assert "Live" not in part.text
    assert "hx-get" not in client.get(f"/swaps/{moving}").text


def test_a_script_that_is_signed_out_is_told_so(client: TestClient, moving: str) -> None:
    answer = client.get(f"/swaps/{moving}/steps")
    assert (answer.headers["hx-redirect"], answer.text) == ("/signin", "")


def test_an_approver_goes_back_once_with_a_reason(client: TestClient, moving: str, world: World) -> None:
    sign_in(client)
    nonce = field(client.get(f"/swaps/{moving}").text, "nonce")
    assert go_back(client, moving, nonce=nonce).headers["location"] == "/swaps/swap-1"
    assert world.book.rolled_back == [{"person": "ada", "reason": "it answers slowly", "swap": moving}]
    assert go_back(client, moving, nonce=nonce).status_code == 409, "a form counts once"
    assert len(world.book.rolled_back) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"reason": " "}, 400),
        ({"passphrase": "wrong"}, 403),
        ({"passphrase": ""}, 403),
        ({"nonce": "guess"}, 409),
    ],
)
def test_an_incomplete_form_rolls_nothing_back(
    client: TestClient, moving: str, world: World, changes: dict[str, str], status: int
) -> None:
    sign_in(client)
    answer = go_back(client, moving, **changes)
    assert answer.status_code == status
    assert "Nothing was rolled back" in answer.text
    assert world.book.rolled_back == []


def test_a_form_is_for_its_own_swap_alone(client: TestClient, moving: str, world: World) -> None:
    sign_in(client)
    other = "swap-other"
    add_swap(world, other, "ACCEPTED")
    nonce = field(client.get(f"/swaps/{other}").text, "nonce")
    assert go_back(client, moving, nonce=nonce).status_code == 409
    nonce = field(client.get(f"/swaps/{other}").text, "nonce")
    add_swap(world, "swap-newer", "ACCEPTED")
    assert go_back(client, other, nonce=nonce).status_code == 409, "another swap is the newest by now"
    assert world.book.rolled_back == []


@pytest.mark.parametrize("person", ["vera", "olga"])
def test_who_may_not_decide_may_not_go_back(
    client: TestClient, moving: str, world: World, person: str
) -> None:
    sign_in(client, person)
    assert "Go back" not in client.get(f"/swaps/{moving}").text
    assert go_back(client, moving, nonce="guess").status_code == 403
    assert world.book.rolled_back == []


@pytest.mark.parametrize(
    ("ends", "offered"),
    [
        (("committed",), True),
        (("quarantined",), True),
        (("rolled_back",), False),
        (("rejected",), False),
        (("closed",), False),
        (("RB_ASKED",), False),
    ],
)
def test_the_way_back_is_offered_where_there_is_one(
    client: TestClient, moving: str, world: World, ends: tuple[str, ...], offered: bool
) -> None:
    sign_in(client)
    add_swap(world, moving, *ends)
    assert ("Go back" in client.get(f"/swaps/{moving}").text) == offered
    assert "Go back" not in client.get("/swaps/swap-1").text, "not the newest"


def test_the_product_asks_for_role_and_reason_itself(tmp_path: Path) -> None:
    with Product(make_home(tmp_path / "home")) as product:
        for person in ("vera", "olga", "nobody"):
            with pytest.raises(NeedsConsent):
                roll_back(product, person=person, reason="it answers slowly")
        with pytest.raises(BadInput):
            roll_back(product, person="ada", reason=" ")
        with pytest.raises(Broken, match="promoter does not answer"):
            roll_back(product, person="ada", reason="it answers slowly")
        place = tmp_path / "home" / "evolve.toml"
        place.write_text(
            place.read_text()
            .replace('["operator", "approver"]', '["viewer"]')
            .replace("['operator', 'approver']", "['viewer']")
        )
        with pytest.raises(NeedsConsent):
            roll_back(product, person="ada", reason="it answers slowly")


def test_every_state_that_the_promoter_writes_has_a_meaning() -> None:
    sources = "".join(path.read_text() for path in Path(promote.__file__).parent.glob("*.py"))
    written = set(re.findall(r'\.(?:step|note|row|_row)\([^"]*?"([A-Z_]+)"', sources))
    assert written >= {"ACCEPTED", "HOLD", "RELEASED", "RB_CHOOSE", "QUARANTINED"}
    assert written - set(STEPS) <= {"BOOTSTRAP", "SETTLE"}, "rows of no swap"
    assert {end.upper() for end in get_args(EndState)} <= set(STEPS)
    assert meaning("hold") == "new requests wait"
    assert meaning("x") == ""
