"""Signing in and signing on the page: who is asked, how often, how long a session lasts, how many must sign."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from web_visit import ORIGIN, OWN, Visit, field, reset, visiting
from web_world import BASE, CHEAP, IMAGE, PASSPHRASE, World, make_home, make_world

from evidence.canonical import canonical_json, new_id, utcnow
from evolve.passwords import hash_password
from evolve.settings import Person
from evolve.signatures import folder_of, write
from evolve.tables import CandidateRow
from evolve.web import sessions
from evolve.web.desk import COOKIE
from evolve.web.sessions import Limiter, Sessions
from promote.approval import Approval
from promote.bundle import FILES
from promote.keys import sign, unlock
from promote.policy import LIFETIME
from promote.promoter import promoter_digest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("consent") / "home"))
    yield built
    built.close()


@pytest.fixture(autouse=True)
def undecided(world: World) -> None:
    world.book.approved.clear()
    world.book.declined.clear()
    reset(world)


@pytest.fixture
def visit(world: World) -> Iterator[Visit]:
    with visiting(world) as found:
        yield found


class Hand:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_signing_in_does_not_touch_the_key(visit: Visit) -> None:
    """The key may be on another machine; signing then finds that it is missing."""
    key = visit.world.settings.home / "keys" / "people" / "ada.pem"
    aside = key.rename(key.with_suffix(".away"))
    try:
        assert visit.sign_in().status_code == 303
        assert visit.approve().status_code == 403
        assert visit.world.book.decisions == 0
    finally:
        aside.rename(key)


def test_another_way_to_know_people_takes_the_place_of_the_hashes(world: World) -> None:
    asked: list[tuple[str, str]] = []

    def directory(person: str, password: str) -> bool:
        asked.append((person, password))
        return password == "from elsewhere"

    with visiting(world, knows=directory) as visit:
        assert visit.sign_in("ada", PASSPHRASE).status_code == 403
        assert visit.sign_in("stranger", "from elsewhere").status_code == 403, (
            "known there, not registered here"
        )
        assert visit.sign_in("ada", "from elsewhere").status_code == 303
    assert [person for person, _ in asked] == ["ada", "stranger", "ada"]


def test_a_new_hash_ends_the_sessions_of_the_old_one(world: World) -> None:
    people = dict(world.settings.consent.people)
    with visiting(world, people=lambda: people) as visit:
        visit.sign_in()
        assert visit.client.get("/").status_code == 200
        fresh = Person(**{**dict(people["ada"]), "sign_in": hash_password("another one", CHEAP)})
        people["ada"] = fresh
        assert visit.client.get("/").status_code == 303


def test_guesses_at_the_door_are_limited_by_person_and_by_address(world: World) -> None:
    with visiting(world, {"at_the_door": Limiter(for_person=2, for_address=4, seconds=300)}) as visit:
        for person, guess, status in (
            ("ada", "wrong", 403),
            ("ada", "wrong", 403),
            ("ada", PASSPHRASE, 429),
            ("olga", "wrong", 403),
            ("nobody", "wrong", 403),
            ("vera", PASSPHRASE, 429),
        ):
            answer = visit.sign_in(person, guess)
            assert answer.status_code == status, person
            if status == 429:
                assert 0 < int(answer.headers["retry-after"]) <= 301
                assert "Too many tries" in answer.text
        assert COOKIE not in visit.client.cookies


def test_guesses_in_the_form_are_limited_and_leave_the_door_alone(visit: Visit) -> None:
    visit.sign_in()
    for _ in range(5):
        assert visit.approve(passphrase="guess").status_code == 403
    answer = visit.approve()
    assert (answer.status_code, visit.world.book.decisions) == (429, 0)
    assert 0 < int(answer.headers["retry-after"]) <= 301
    visit.client.cookies.clear()
    assert visit.sign_in().status_code == 303


def test_guesses_at_the_door_do_not_keep_approvers_from_deciding(visit: Visit) -> None:
    visit.sign_in()
    with TestClient(visit.client.app, base_url=ORIGIN, follow_redirects=False) as other:
        guesser = Visit(other, visit.world)
        codes = [guesser.sign_in("ada", f"guess {n}").status_code for n in range(6)]
        codes += [guesser.sign_in(f"guess-{n}", "guess").status_code for n in range(20)]
    assert codes.count(403) == 20
    assert codes[-1] == 429
    assert visit.approve().status_code == 303


def test_a_session_ends_idle_and_old_and_a_live_page_is_no_use(world: World) -> None:
    """What a page fetches by itself, every two seconds for days, must not keep anybody signed in."""
    by_itself = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
    by_hand = {**by_itself, "sec-fetch-user": "?1"}
    clock = Hand()
    with visiting(world, {"sessions": Sessions(clock)}) as visit:
        for headers, alive in ((by_itself, False), (by_hand, True), ({}, True)):
            visit.client.cookies.clear()
            visit.sign_in()
            for _ in range(8):
                clock.now += sessions.IDLE_SECONDS / 4
                last = visit.client.get("/", headers=headers).status_code
            assert (last == 200) is alive, headers
        visit.client.cookies.clear()
        visit.sign_in()
        for _ in range(int(sessions.LIFE_SECONDS / sessions.IDLE_SECONDS * 2) - 1):
            clock.now += sessions.IDLE_SECONDS / 2
            assert visit.client.get("/", headers=by_hand).status_code == 200
        nonce = visit.nonce()
        clock.now += sessions.IDLE_SECONDS / 2 + 1
        assert visit.approve(nonce=nonce).headers["location"] == "/signin"
        assert world.book.decisions == 0


def test_a_stolen_cookie_does_nothing_from_another_origin(visit: Visit) -> None:
    """With everything else that the thief could wish for: the browser's name, a fresh nonce, the passphrase."""
    visit.sign_in()
    cookie, nonce = visit.client.cookies[COOKIE], visit.nonce()
    with TestClient(visit.client.app, base_url=ORIGIN, follow_redirects=False) as elsewhere:
        elsewhere.cookies.set(COOKIE, cookie, domain="127.0.0.1")
        thief = Visit(elsewhere, visit.world)
        for headers in (
            {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
            {"origin": "http://127.0.0.1:8710", "sec-fetch-site": "same-site"},
            {"sec-fetch-site": "none"},
            {},
        ):
            assert thief.approve(nonce=nonce, headers=headers).status_code == 403
        form = {"token": "guess"}
        assert elsewhere.post("/signout", data=form, headers={"origin": "null"}).status_code == 403
    assert visit.world.book.decisions == 0
    assert visit.approve(nonce=nonce).status_code == 303, "the refused posts spent nothing"


def test_a_replayed_form_counts_once_and_not_after_signing_out(visit: Visit) -> None:
    visit.sign_in()
    nonce, token = visit.nonce("decline"), field(visit.client.get("/").text, "token")
    url, form = f"{visit.page}/decline", {"nonce": nonce, "reason": "too large"}
    assert visit.client.post(url, data=form, headers=OWN).status_code == 303
    reset(visit.world)
    assert visit.client.post(url, data=form, headers=OWN).status_code == 409
    kept = visit.nonce()
    visit.client.post("/signout", data={"token": token}, headers=OWN)
    assert visit.approve(nonce=kept).headers["location"] == "/signin"
    visit.sign_in()
    assert visit.approve(nonce=kept).status_code == 409, "a form belongs to the session that it was shown to"
    assert visit.world.book.decisions == 1


def half_sign(world: World, **changes: object) -> None:
    """Two must sign; alan has, with his real key."""
    settings = world.settings
    approval = Approval(
        nonce=new_id(),
        target_image=IMAGE,
        base_image=BASE,
        source_commit="c" * 40,
        **dict.fromkeys(FILES.values(), "sha256:" + "0" * 64),  # type: ignore[arg-type]
        schema_reads=(1,),
        schema_writes=1,
        policy="separate",
        promoter_digest=promoter_digest(),
        requester="olga",
        approver="alan",
        reason="read it",
        bake_seconds=600,
        bake_turns=50,
        expires=(utcnow() + LIFETIME).isoformat(),
        **{"rollback_class": "same", **changes},  # type: ignore[arg-type]
    )
    folder = folder_of(settings, approval.digest)
    folder.mkdir(parents=True)
    (folder / "capability_diff.json").write_bytes(canonical_json({"added": ["network:socket"]}))
    write(settings, sign(approval, unlock(settings.home / "keys" / "people" / "alan.pem", PASSPHRASE)))
    with world.store.write() as session:
        row = session.get_one(CandidateRow, world.candidate_id)
        row.approval_digest = approval.digest
        session.add(row)


def test_the_page_says_who_has_signed_and_lets_another_sign(visit: Visit) -> None:
    visit.sign_in("ada")
    assert "0 of 1 have signed" in visit.client.get(visit.page).text
    early = visit.nonce()
    half_sign(visit.world)
    answer = visit.approve(nonce=early)
    assert (answer.status_code, "try again" in answer.text) == (409, True), (
        "somebody signed while the form was open"
    )
    html = visit.client.get(visit.page).text
    assert "1 of 2 have signed (it gains capabilities): <strong>alan</strong>" in html
    assert "waits for another signature" in visit.client.get("/").text
    visit.client.cookies.clear()
    visit.sign_in("alan")
    html = visit.client.get(visit.page).text
    assert "You have signed this approval" in html
    assert "/approve" not in html
    assert "/decline" in html
    visit.client.cookies.clear()
    visit.sign_in("ada")
    assert visit.approve().status_code == 303
    assert [asked["person"] for asked in visit.world.book.approved] == ["ada"]


@pytest.mark.parametrize(("inbox", "lost"), [(False, "everything"), (True, "but for turns of the inbox")])
def test_a_lossy_approval_is_signed_only_by_who_agrees_to_that(visit: Visit, inbox: bool, lost: str) -> None:
    visit.sign_in("ada")
    half_sign(visit.world, rollback_class="lossy", replays_inbox=inbox)
    html = visit.client.get(visit.page).text
    assert "a rollback may lose" in html
    assert lost in html
    assert "expand, then contract" in html
    answer = visit.approve()
    assert (answer.status_code, "unless you agree" in answer.text) == (400, True)
    assert visit.world.book.approved == []
    assert visit.approve(accept_lossy="true").status_code == 303
    assert visit.world.book.approved[0]["accept_lossy"] is True


def test_signatures_that_do_not_count_any_more_are_told(world: World) -> None:
    half_sign(world)
    people = dict(world.settings.consent.people)
    people["alan"] = people["alan"].model_copy(update={"roles": ("viewer",)})
    with visiting(world, people=lambda: people) as visit:
        visit.sign_in("ada")
        html = visit.client.get(visit.page).text
        assert "does not count any more: alan may not approve" in html
        assert visit.nonce()
