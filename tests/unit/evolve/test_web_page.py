"""The page through its own front door: who may look, what counts as a decision, and all that must not."""

import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from web_flows import hostile_library
from web_population import add_population
from web_visit import DIGITS, ORIGIN, OWN, PORT, Visit, field, reset, visiting
from web_world import IMAGE, PASSPHRASE, World, make_home, make_world

from evolve.settings import Settings
from evolve.tables import CandidateRow
from evolve.web.desk import COOKIE


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_home(tmp_path_factory.mktemp("page") / "home")


@pytest.fixture(scope="module")
def world(settings: Settings) -> Iterator[World]:
    built = make_world(settings, regression=2)
    yield built
    built.close()


@pytest.fixture
def visit(world: World) -> Iterator[Visit]:
    world.book.approved.clear()
    world.book.declined.clear()
    reset(world)
    with visiting(world) as found:
        yield found


def test_nobody_looks_without_signing_in(visit: Visit) -> None:
    for path in (
        "/",
        "/batches",
        "/runs",
        "/workflows",
        "/history",
        "/swaps/swap-1",
        visit.page,
        f"{visit.page}/diff",
    ):
        answer = visit.client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/signin"), path
    assert visit.client.get("/signin").status_code == 200


def test_every_page_opens_for_a_viewer(visit: Visit) -> None:
    assert visit.sign_in("vera").status_code == 303
    world = visit.world
    for path in (
        "/",
        "/batches",
        f"/batches/{world.batch_id}",
        "/runs",
        f"/runs/{world.run_id}",
        visit.page,
        "/workflows",
        "/history",
        "/history?rows=all",
        "/swaps/swap-1",
    ):
        answer = visit.client.get(path)
        assert answer.status_code == 200, path
        assert '<main id="main"' in answer.text
        assert "<h1" in answer.text
    assert "Deciding needs the role approver" in visit.client.get(visit.page).text
    assert visit.client.get("/signin").headers["location"] == "/"


def test_wrong_passphrase_unknown_person_and_too_many_tries(visit: Visit) -> None:
    assert visit.sign_in("ada", "wrong").status_code == 403
    assert visit.sign_in("nobody", PASSPHRASE).status_code == 403
    for _ in range(4):
        visit.sign_in("ada", "wrong")
    answer = visit.sign_in("ada", PASSPHRASE)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert COOKIE not in visit.client.cookies


def test_sign_in_needs_the_form_of_this_visitor(visit: Visit) -> None:
    nonce = field(visit.client.get("/signin").text, "nonce")
    form = {"nonce": nonce, "person": "ada", "passphrase": PASSPHRASE}
    visit.client.cookies.clear()
    assert visit.client.post("/signin", data=form, headers=OWN).status_code == 403


def test_the_session_cookie_is_shut(visit: Visit) -> None:
    cookie = next(c for c in visit.sign_in().headers.get_list("set-cookie") if c.startswith(COOKIE))
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert flags == {"httponly", "samesite=strict", "path=/"}


def test_a_stolen_cookie_is_nothing_in_another_browser(visit: Visit) -> None:
    visit.sign_in()
    assert visit.client.get("/").status_code == 200
    assert visit.client.get("/", headers={"user-agent": "thief"}).status_code == 303


def test_sign_in_gives_a_new_session_and_sign_out_ends_it(visit: Visit) -> None:
    visit.client.cookies.set(COOKIE, "chosen-by-somebody-else", domain="127.0.0.1")
    visit.sign_in()
    value = visit.client.cookies[COOKIE]
    assert value != "chosen-by-somebody-else"
    token = field(visit.client.get("/").text, "token")
    visit.client.post("/signout", data={"token": token}, headers=OWN)
    visit.client.cookies.set(COOKIE, value, domain="127.0.0.1")
    assert visit.client.get("/").status_code == 303


def test_who_is_removed_or_has_a_new_key_is_out_at_once(world: World) -> None:
    people = dict(world.settings.consent.people)
    with visiting(world, people=lambda: people) as visit:
        visit.sign_in()
        people["ada"] = people["ada"].model_copy(update={"roles": ("viewer",)})
        assert "Deciding needs" in visit.client.get(visit.page).text
        people["ada"] = people["ada"].model_copy(update={"public_key": people["vera"].public_key})
        assert visit.client.get("/").status_code == 303
        people.pop("ada")
        assert visit.client.get("/").status_code == 303


def test_every_answer_carries_the_shield(visit: Visit) -> None:
    visit.sign_in()
    for path in ("/", "/signin", "/nothing", "/static/page.css", visit.page, f"{visit.page}/diff"):
        headers = visit.client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == (
            "no-store" if "static" not in path else "private, max-age=86400, immutable"
        )
    refused = visit.client.post("/signin", data={})
    assert refused.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", f"127.0.0.1.evil.example:{PORT}", "127.0.0.1:1", "x:y"]
)
def test_another_host_name_is_not_answered(visit: Visit, host: str) -> None:
    """DNS rebinding: the browser believes to be at evil.example."""
    answer = visit.client.get("/signin", headers={"host": host})
    assert answer.status_code == 421
    assert "passphrase" not in answer.text


def test_approval_takes_reason_digits_and_passphrase(visit: Visit) -> None:
    visit.sign_in()
    answer = visit.approve(digits=DIGITS.upper())
    assert answer.status_code == 303, answer.text
    assert visit.world.book.approved == [
        {
            "candidate": visit.world.candidate_id,
            "person": "ada",
            "reason": "read it all",
            "digits": DIGITS,
            "accept_lossy": False,
        }
    ]
    html = visit.client.get(visit.page).text
    assert "read it all" in html
    assert "/approve" not in html


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"digits": "00000000"}, 400, "not the last 8 digits"),
        ({"digits": ""}, 400, "not the last 8 digits"),
        ({"digits": IMAGE}, 400, "not the last 8 digits"),
        ({"passphrase": "wrong"}, 403, "not your passphrase"),
        ({"passphrase": ""}, 403, "not your passphrase"),
        ({"reason": "  "}, 400, "Give a reason"),
        ({"nonce": "invented"}, 409, "used already"),
        ({"nonce": ""}, 400, "not complete"),
        ({"reason": "x" * 3000}, 400, "not complete"),
    ],
)
def test_an_incomplete_approval_signs_nothing(
    visit: Visit, changes: dict[str, str], status: int, says: str
) -> None:
    visit.sign_in()
    answer = visit.approve(**changes)
    assert (answer.status_code, visit.world.book.decisions) == (status, 0)
    assert says in answer.text
    assert PASSPHRASE not in answer.text


def test_a_form_counts_once(visit: Visit) -> None:
    visit.sign_in()
    nonce = visit.nonce()
    assert visit.approve(nonce=nonce, digits="00000000").status_code == 400
    assert visit.approve(nonce=nonce).status_code == 409
    assert visit.world.book.decisions == 0
    nonce = visit.nonce()
    assert visit.approve(nonce=nonce).status_code == 303
    reset(visit.world)
    assert visit.approve(nonce=nonce).status_code == 409
    assert len(visit.world.book.approved) == 1


def test_a_form_for_declining_approves_nothing(visit: Visit) -> None:
    visit.sign_in()
    assert visit.approve(nonce=visit.nonce("decline")).status_code == 409
    assert visit.world.book.decisions == 0


def test_a_form_for_other_bytes_approves_nothing(visit: Visit) -> None:
    """The candidate's image changed between looking and signing."""
    visit.sign_in()
    nonce = visit.nonce()
    with visit.world.store.write() as session:
        row = session.get_one(CandidateRow, visit.world.candidate_id)
        row.image = other = IMAGE[:-8] + "deadbeef"
        session.add(row)
    try:
        answer = visit.approve(nonce=nonce, digits=other[-8:])
    finally:
        with visit.world.store.write() as session:
            row = session.get_one(CandidateRow, visit.world.candidate_id)
            row.image = IMAGE
            session.add(row)
    assert (answer.status_code, visit.world.book.decisions) == (409, 0)
    assert "made for something else" in answer.text


def test_declining_takes_a_reason(visit: Visit) -> None:
    visit.sign_in()
    url = f"{visit.page}/decline"
    bare = visit.client.post(url, data={"nonce": visit.nonce("decline"), "reason": ""}, headers=OWN)
    assert (bare.status_code, visit.world.book.decisions) == (400, 0)
    form = {"nonce": visit.nonce("decline"), "reason": "too large"}
    assert visit.client.post(url, data=form, headers=OWN).status_code == 303
    assert visit.world.book.declined[0]["reason"] == "too large"


def test_viewers_operators_and_requesters_approve_nothing(visit: Visit) -> None:
    visit.sign_in("ada")
    nonce = visit.nonce()
    for person in ("vera", "olga"):
        visit.client.cookies.clear()
        visit.sign_in(person)
        assert visit.approve(nonce=nonce).status_code in (403, 409)
    with_role = dict(visit.world.settings.consent.people)
    with_role["olga"] = with_role["olga"].model_copy(update={"roles": ("approver",)})
    with visiting(visit.world, people=lambda: with_role) as requester:
        requester.sign_in("olga")
        html = requester.client.get(requester.page).text
        assert "You started this run" in html
        assert "/approve" not in html
        assert "/decline" in html
    assert visit.world.book.decisions == 0


def test_guessing_passphrases_in_the_form_is_limited(visit: Visit) -> None:
    visit.sign_in()
    for _ in range(5):
        assert visit.approve(passphrase="guess").status_code == 403
    assert visit.approve().status_code == 429
    assert visit.world.book.decisions == 0


def test_get_never_acts(visit: Visit) -> None:
    """A mail scanner opens every link; a prefetcher too."""
    visit.sign_in()
    nonce = visit.nonce()
    query = f"nonce={nonce}&reason=because&digits={DIGITS}&passphrase={PASSPHRASE}"
    for deed in ("approve", "decline"):
        assert visit.client.get(f"{visit.page}/{deed}?{query}").status_code == 405
    assert visit.client.get("/signout").status_code == 405
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"):
        assert visit.client.request(method, f"{visit.page}/approve").status_code == 405
    assert visit.world.book.decisions == 0


FORGERIES: list[dict[str, str]] = [
    {},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": f"https://127.0.0.1:{PORT}"},
    {"origin": "http://127.0.0.1"},
    {"origin": "http://127.0.0.1:8710"},
    {"origin": f"http://localhost:{PORT}"},
    {"origin": f"{ORIGIN}.evil.example"},
    {"origin": f"{ORIGIN}/"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "same-origin, cross-site"},
    {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
    {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    {**OWN, "sec-fetch-dest": "iframe"},
    {**OWN, "sec-fetch-dest": "empty"},
    {**OWN, "host": "evil.example"},
    {**OWN, "content-type": "text/plain"},
    {**OWN, "content-type": "application/json"},
    {**OWN, "content-type": "multipart/form-data; boundary=x"},
    {"referer": f"{ORIGIN}/"},
]


@pytest.mark.parametrize("headers", FORGERIES, ids=repr)
def test_forged_posts_do_nothing(visit: Visit, headers: dict[str, str]) -> None:
    """Everything right, the nonce and the passphrase included; only the sender is another."""
    visit.sign_in()
    answer = visit.approve(headers=headers)
    assert answer.status_code in (403, 415, 421), answer.text
    assert visit.world.book.decisions == 0
    form = {"nonce": visit.nonce("decline"), "reason": "forged"}
    assert visit.client.post(f"{visit.page}/decline", data=form, headers=headers).status_code in (
        403,
        415,
        421,
    )
    assert visit.world.book.decisions == 0


def test_two_origins_and_oversized_forms_are_refused(visit: Visit) -> None:
    visit.sign_in()
    twice = [
        ("origin", ORIGIN),
        ("origin", "http://evil.example"),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
    assert visit.client.post("/signin", content=b"nonce=x", headers=twice).status_code == 403
    assert visit.client.post("/signin", data={"nonce": "x" * 20_000}, headers=OWN).status_code == 413


XSS = [
    "<script>fetch('/candidates/x/approve',{method:'POST'})</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</pre></td></table><form action=//evil.example method=post><button>Approve</button></form>",
    "</textarea><script>alert(1)</script>",
    "</title><meta http-equiv=refresh content='0;url=//evil.example'>",
    '<a href="javascript:alert(1)">read more</a>',
    "{{ actor.session.token }}{% for x in ().__class__.__mro__ %}{{ x }}{% endfor %}",
    "<style>body{display:none}</style><base href=//evil.example>",
    "<iframe srcdoc=\"<script>parent.location='//evil.example'</script>\"></iframe>",
    "\x1b]8;;http://evil.example\x07\u202e\u2066approved by ada\u2069\u200b",
    "<!-- --><details open ontoggle=alert(1)>",
]
ALLOWED = {
    "a",
    "article",
    "body",
    "button",
    "caption",
    "circle",
    "code",
    "col",
    "colgroup",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "g",
    "rect",
    "path",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "img",
    "input",
    "label",
    "li",
    "line",
    "link",
    "main",
    "mark",
    "meta",
    "nav",
    "ol",
    "p",
    "polyline",
    "pre",
    "progress",
    "section",
    "span",
    "strong",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "tfoot",
    "text",
    "textarea",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
    "br",
}


class Tags(HTMLParser):
    """What a browser would build: every tag and attribute."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(attrs)))


@pytest.mark.parametrize("first", [0, 4, 8])
def test_hostile_text_stays_text(tmp_path_factory: pytest.TempPathFactory, first: int) -> None:
    """In title, conversation, signals, diff, reasons, events, changes and ledgers at once, each in turn in
    front."""
    some = XSS[first : first + 4]
    turn = itertools.count()

    def hostile(honest: str) -> str:
        start = next(turn) % len(some)
        return "".join([*some[start:], *some[:start], honest])

    home = make_home(tmp_path_factory.mktemp("xss") / "home")
    workflows = hostile_library(hostile), hostile_library(hostile)
    world = make_world(home, text=hostile, regression=2, workflows=workflows)
    try:
        with visiting(world) as visit:
            visit.sign_in()
            population = f"/runs/{add_population(world, text=hostile)}"
            paths = (
                "/",
                "/batches",
                f"/batches/{world.batch_id}",
                "/runs",
                f"/runs/{world.run_id}",
                visit.page,
                "/workflows",
                "/history",
                "/swaps/swap-1",
                population,
                *(f"{population}/proposals/{where}" for where in ("1/1", "1/2", "1/3", "2/1", "2/4")),
            )
            for path in paths:
                answer = visit.client.get(path)
                assert answer.status_code == 200
                _assert_tame(answer.text)
            assert visit.client.get("/workflows").text.count("<svg") == 2
            raw = visit.client.get(f"{visit.page}/diff")
            assert raw.headers["content-type"].startswith("text/plain")
            assert raw.headers["content-disposition"].startswith("attachment")
            rejected = visit.approve(reason=hostile("x"), digits="00000000")
            assert rejected.status_code == 400
            _assert_tame(rejected.text)
    finally:
        world.close()


def _assert_tame(html: str) -> None:
    assert not any(hidden in html for hidden in "\x1b\u202e\u2066\u2069\u200b\x07")
    for tag, attributes in Tags(html).found:
        assert tag in ALLOWED, tag
        for name, value in attributes:
            assert not name.startswith("on"), name
            assert name not in ("style", "srcdoc", "formaction")
            if name in ("href", "src", "action"):
                assert (value or "").startswith(("/", "#", "?")), value
                assert not (value or "").startswith("//"), value


def test_problems_take_the_forms_away(visit: Visit) -> None:
    visit.sign_in()
    nonce = visit.nonce()
    with visit.world.store.write() as session:
        row = session.get_one(CandidateRow, visit.world.candidate_id)
        kept, row.diff_blob = row.diff_blob, visit.world.store.blobs.put(b"harmless")
        session.add(row)
    try:
        html = visit.client.get(visit.page).text
        assert "does not fit together" in html
        assert "/approve" not in html
        assert visit.approve(nonce=nonce).status_code == 409
    finally:
        with visit.world.store.write() as session:
            row = session.get_one(CandidateRow, visit.world.candidate_id)
            row.diff_blob = kept
            session.add(row)
    assert visit.world.book.decisions == 0


def test_the_evidence_is_drawn_told_and_tabled(visit: Visit) -> None:
    visit.sign_in("vera")
    html = visit.client.get(visit.page).text
    assert re.search(
        r'<svg [^>]*role="img" aria-label="The e-value after each of 12 held-out pairs: [^"]*55.2', html
    )
    table = re.search(r'<table class="tight evalues">.*?</table>', html, re.DOTALL)
    assert table
    assert re.findall(r"<td class=\"num\">([\d.]+)</td><td>([a-z ]+)</td>", table.group())[6:9] == [
        ("17.1", "not yet"),
        ("24.3", "yes"),
        ("34", "yes"),
    ]


def test_both_replies_of_a_case_are_shown_and_cut(
    visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = make_world(
        make_home(tmp_path_factory.mktemp("long") / "home"),
        text=lambda honest: honest + "<b>" * 1000,
        regression=2,
    )
    try:
        with visiting(world) as other:
            other.sign_in()
            html = other.client.get(other.page).text
            replies = re.findall(r'<div class="replies">.*?</details>', html, re.DOTALL)
            assert len(replies) == 8 + 12 + 2
            for shown in replies:
                assert "&lt;b&gt;" in shown
                assert shown.count("more characters]") == 2
                assert len(shown) < 15_000
    finally:
        world.close()


def test_what_is_not_there(visit: Visit) -> None:
    visit.sign_in()
    for path in ("/candidates/x", "/runs/x", "/batches/x", "/swaps/x", "/nothing", "/docs", "/openapi.json"):
        assert visit.client.get(path).status_code == 404, path
