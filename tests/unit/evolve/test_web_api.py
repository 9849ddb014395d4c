"""The control API: the CLI's records behind a name and a passphrase; what is not right changes nothing."""

import json
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from click.testing import CliRunner
from web_visit import DIGITS, ORIGIN, OWN, PORT, Visit, reset, visiting
from web_world import PASSPHRASE, World, add_running_run, add_swap, make_home, make_world

from evolve.cli.main import cli
from evolve.errors import ERROR_KINDS
from evolve.web.api.__main__ import FILE_NAME, rendered
from evolve.web.api.answers import Kind
from evolve.web.api.document import document
from evolve.web.sessions import Limiter
from evolve.web.shield import MAX_JSON

ADA = ("ada", PASSPHRASE)
GOOD = {"reason": "read it all", "digits": DIGITS, "passphrase": PASSPHRASE}
SWAP = "swap-moving"
DOCS = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("api") / "home"), regression=2)
    add_running_run(built)
    add_swap(built, SWAP, "ACCEPTED")
    yield built
    built.close()


@pytest.fixture
def visit(world: World) -> Iterator[Visit]:
    for deeds in (world.book.approved, world.book.declined, world.book.rolled_back):
        deeds.clear()
    reset(world)
    with visiting(world) as found:
        yield found


def nothing_done(visit: Visit) -> bool:
    return visit.world.book.decisions + len(visit.world.book.rolled_back) == 0


def approve(visit: Visit, body: object = None, **options: Any) -> httpx2.Response:
    """In ASCII, which takes halves of characters, too."""
    options = {"auth": ADA, "content": json.dumps(GOOD if body is None else body), **options}
    options["headers"] = {"content-type": "application/json", **options.get("headers", {})}
    return visit.client.post(f"/api/v1{visit.page}/approve", **options)


def refused(answer: httpx2.Response, status: int, kind: str) -> str:
    """Its message, after a look at the envelope."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"kind", "message", "hint"}
    assert error["kind"] == kind
    assert PASSPHRASE not in answer.text
    return str(error["message"])


def test_the_published_description_is_not_stale() -> None:
    assert (DOCS / FILE_NAME).read_text() == rendered(), "run `python -m evolve.web.api docs/schemas`"


def test_the_description_declares_every_refusal_and_needs_a_sign_in_everywhere() -> None:
    assert get_args(Kind) == ERROR_KINDS
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            declared = set(operation["responses"])
            assert {"200", "401", "403", "404", "405", "413", "422", "429", "500", "503"} <= declared, path
            assert operation["security"] == [{"passphrase": []}], path
            assert (method == "post") == ("requestBody" in operation)
            if method == "post":
                name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[
                    -1
                ]
                schema = document()["components"]["schemas"][name]
                assert schema["additionalProperties"] is False
                assert "reason" in schema["required"]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("batch list", "batches?limit=200"),
        ("batch show {batch}", "batches/{batch}"),
        ("evidence list --batch {batch}", "batches/{batch}/evidence"),
        ("run list", "runs?limit=200"),
        ("run status {run}", "runs/{run}?limit=1000"),
        ("candidate list --state ready", "candidates?state=ready"),
        ("candidate show {candidate}", "candidates/{candidate}"),
        ("candidate diff {candidate}", "candidates/{candidate}/diff"),
        ("people list", "people"),
    ],
)
def test_the_api_says_what_the_cli_says(visit: Visit, command: str, path: str) -> None:
    world = visit.world
    names = {"batch": world.batch_id, "run": world.run_id, "candidate": world.candidate_id}
    line = [*command.format(**names).split(), "--json"]
    done = CliRunner().invoke(cli, line, env={"EVOLVE_HOME": str(world.settings.home)})
    assert done.exit_code == 0, done.stderr
    answer = visit.client.get(f"/api/v1/{path.format(**names)}", auth=ADA).json()
    assert answer
    assert without_clock(json.loads(done.stdout)) == without_clock(answer)


def without_clock(value: Any) -> Any:
    """A run under way gets older between two looks."""
    if isinstance(value, list):
        return [without_clock(item) for item in value]
    if isinstance(value, dict):
        return {key: without_clock(item) for key, item in value.items() if key != "seconds"}
    return value


def test_what_waits_and_who_asks(visit: Visit) -> None:
    waiting = visit.client.get("/api/v1/waiting", auth=ADA).json()
    assert [found["id"] for found in waiting["candidates"]] == [visit.world.candidate_id]
    assert [found["id"] for found in waiting["swaps"]] == [SWAP]
    assert [found["state"] for found in waiting["runs"]] == ["running"]
    assert visit.client.get("/api/v1/me", auth=ADA).json()["roles"] == ["operator", "approver"]


@pytest.mark.parametrize("path", ["batches", "runs", "swaps", "history", "history?rows=all"])
def test_a_list_comes_in_pages_that_join(visit: Visit, path: str) -> None:
    url, mark = f"/api/v1/{path}", "&" if "?" in path else "?"
    whole = visit.client.get(f"{url}{mark}limit=200", auth=ADA).json()
    assert len(whole) > 1
    pages = []
    for offset in range(len(whole) + 1):
        pages += visit.client.get(f"{url}{mark}limit=1&offset={offset}", auth=ADA).json()
    assert without_clock(pages) == without_clock(whole)
    for wrong in ("limit=201", "limit=0", "offset=-1", "limit=x", "limit=1e3", "more=1"):
        refused(visit.client.get(f"{url}{mark}{wrong}", auth=ADA), 422, "bad_input")
    twice = visit.client.get(f"{url}{mark}limit=1&limit=2", auth=ADA)
    assert "twice" in refused(twice, 400, "bad_input")


def test_a_reader_follows_a_run_by_its_events(visit: Visit) -> None:
    run = next(r for r in visit.client.get("/api/v1/runs", auth=ADA).json() if r["state"] == "running")
    url = f"/api/v1/runs/{run['id']}"
    events = visit.client.get(url, auth=ADA).json()["events"]
    assert [e["stage"] for e in events] == ["locate"]
    assert visit.client.get(f"{url}?after_event={events[-1]['id']}", auth=ADA).json()["events"] == []


def test_deeds_end_in_the_same_functions_as_the_forms(visit: Visit) -> None:
    book = visit.world.book
    answer = approve(visit, {**GOOD, "reason": "  read it all ", "accept_lossy": True})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["candidate"], answer.json()["signed"]) == (visit.world.candidate_id, ["ada"])
    asked = {"person": "ada", "reason": "read it all", "digits": DIGITS, "accept_lossy": True}
    assert book.approved == [{"candidate": visit.world.candidate_id, **asked}]
    assert "nothing to decide" in refused(approve(visit), 409, "refused"), "a replayed one"
    reset(visit.world)
    answer = visit.client.post(f"/api/v1{visit.page}/decline", auth=ADA, json={"reason": "too large"})
    assert answer.json() == {"candidate": visit.world.candidate_id, "state": "declined"}
    again = visit.client.post(f"/api/v1{visit.page}/decline", auth=ADA, json={"reason": "too large"})
    refused(again, 409, "refused")
    back = {"reason": "it answers slowly", "passphrase": PASSPHRASE}
    assert visit.client.post(f"/api/v1/swaps/{SWAP}/rollback", auth=ADA, json=back).json() == {
        "swap": "swap-1"
    }
    other = visit.client.post("/api/v1/swaps/swap-1/rollback", auth=ADA, json=back)
    assert "nothing to go back from" in refused(other, 409, "refused")
    assert (book.decisions, len(book.rolled_back)) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"digits": "00000000"}, 400, "bad_input"),
        ({"digits": DIGITS.upper()}, 422, "bad_input"),
        ({"digits": DIGITS + "\n"}, 422, "bad_input"),
        ({"digits": int("1" * 8)}, 422, "bad_input"),
        ({"passphrase": "wrong"}, 403, "needs_consent"),
        ({"passphrase": ""}, 403, "needs_consent"),
        ({"passphrase": "\ud800"}, 403, "needs_consent"),
        ({"passphrase": "x" * 1001}, 422, "bad_input"),
        ({"reason": ""}, 422, "bad_input"),
        ({"reason": "   "}, 422, "bad_input"),
        ({"reason": "ok"}, 422, "bad_input"),
        ({"reason": "\x1c\x1c\x1c\x1c"}, 422, "bad_input"),
        ({"reason": "a\x00bc"}, 422, "bad_input"),
        ({"reason": "x" * 2001}, 422, "bad_input"),
        ({"reason": "\ud800\ud800\ud800"}, 422, "bad_input"),
        ({"reason": None}, 422, "bad_input"),
        ({"reason": ["read it all"]}, 422, "bad_input"),
        ({"accept_lossy": "true"}, 422, "bad_input"),
        ({"more": 1}, 422, "bad_input"),
        ({"\ud800": 1}, 422, "bad_input"),
        ({"person": "adam"}, 422, "bad_input"),
    ],
    ids=repr,
)
def test_an_approval_that_is_not_right_signs_nothing(
    visit: Visit, changes: dict[str, Any], status: int, kind: str
) -> None:
    refused(approve(visit, {**GOOD, **changes}), status, kind)
    assert nothing_done(visit)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 415),
        (b"", {"content-type": "application/json"}, 422),
        (b"[" * 9000, {"content-type": "application/json"}, 400),
        (b'{"reason": "x"', {"content-type": "application/json"}, 422),
        (b"\xff\xff{}", {"content-type": "application/json"}, 400),
        (b"null", {"content-type": "application/json"}, 422),
        (json.dumps(GOOD).encode(), {"content-type": "text/plain"}, 415),
        (json.dumps(GOOD).encode(), {"content-type": "application/jsonp"}, 415),
        (b"x=1", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b" " * (MAX_JSON + 1), {"content-type": "application/json"}, 413),
        (b"{}", {"content-type": "application/json", "content-length": "9" * 5000}, 411),
        (b"{}", {"content-type": "application/json", "content-length": "-2"}, 411),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_other_bodies_are_not_read(visit: Visit, body: bytes, headers: dict[str, str], status: int) -> None:
    url = f"/api/v1{visit.page}/approve"
    refused(visit.client.post(url, auth=ADA, content=body, headers=headers), status, "bad_input")
    assert nothing_done(visit)


def test_a_body_of_unknown_length_is_not_read(visit: Visit) -> None:
    url, headers = f"/api/v1{visit.page}/approve", {"content-type": "application/json"}
    answer = visit.client.post(url, auth=ADA, content=iter([json.dumps(GOOD).encode()]), headers=headers)
    refused(answer, 411, "bad_input")
    assert nothing_done(visit)


def header(text: bytes) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(text).decode()}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Bearer abc"},
        header(b""),
        header(b":"),
        header(b"ada"),
        header(b"ada:"),
        header(b"ada:wrong"),
        header(b"nobody:" + PASSPHRASE.encode()),
        header(b"ada\x00:" + PASSPHRASE.encode()),
        header(b"\xff\xfe:" + PASSPHRASE.encode()),
        header(b"ada:" + b"x" * 2000),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_who_does_not_say_who_they_are_gets_nothing(visit: Visit, headers: dict[str, str]) -> None:
    """Though the browser is signed in at the page: a cookie is nothing here."""
    visit.sign_in()
    for answer in (
        visit.client.get("/api/v1/me", headers=headers),
        approve(visit, auth=None, headers=headers),
    ):
        refused(answer, 401, "needs_consent")
        assert not answer.headers["www-authenticate"].lower().startswith("basic"), (
            "a browser would ask and keep it"
        )
        assert "set-cookie" not in answer.headers
    assert nothing_done(visit)


def test_a_passphrase_may_hold_any_letters(world: World) -> None:
    def knows(person: str, password: str) -> bool:
        return (person, password) == ("ada", "größer: als:ß")

    with visiting(world, knows=knows) as visit:
        assert visit.client.get("/api/v1/me", headers=header("ada:größer: als:ß".encode())).status_code == 200


def test_guesses_count_with_those_at_the_door(world: World) -> None:
    with visiting(world, {"at_the_door": Limiter(for_person=3, for_address=9, seconds=300)}) as visit:
        wrong = ("ada", "guess")
        refused(visit.client.get("/api/v1/me", auth=wrong), 401, "needs_consent")
        assert visit.sign_in("ada", "guess").status_code == 403
        refused(visit.client.get("/api/v1/me", auth=wrong), 401, "needs_consent")
        answer = visit.client.get("/api/v1/me", auth=ADA)
        refused(answer, 429, "needs_consent")
        assert 0 < int(answer.headers["retry-after"]) <= 301
        assert visit.sign_in().status_code == 429
        assert visit.client.get("/api/v1/me", auth=("vera", PASSPHRASE)).status_code == 200


def test_guesses_at_the_key_are_limited(world: World) -> None:
    with visiting(world, {"at_the_desk": Limiter(for_person=2, for_address=9, seconds=300)}) as visit:
        for _ in range(2):
            refused(approve(visit, {**GOOD, "passphrase": "guess"}), 403, "needs_consent")
        answer = approve(visit)
        refused(answer, 429, "needs_consent")
        assert int(answer.headers["retry-after"]) > 0


def test_many_right_passphrases_at_once_are_no_guesses(visit: Visit) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(lambda _: visit.client.get("/api/v1/me", auth=ADA).status_code, range(24))
    assert set(answers) == {200}


def test_a_role_that_was_taken_is_gone_at_once(world: World) -> None:
    people = dict(world.settings.consent.people)
    reset(world)
    with visiting(world, people=lambda: people) as visit:
        people["ada"] = people["ada"].model_copy(update={"roles": ("viewer",)})
        refused(approve(visit), 403, "needs_consent")
        assert visit.client.get("/api/v1/me", auth=ADA).json()["roles"] == ["viewer"]
        people["ada"] = people["ada"].model_copy(update={"roles": ()})
        refused(visit.client.get("/api/v1/me", auth=ADA), 401, "needs_consent")
        people.pop("ada")
        refused(visit.client.get("/api/v1/me", auth=ADA), 401, "needs_consent")


def test_who_started_the_run_approves_nothing_here_either(world: World) -> None:
    people = dict(world.settings.consent.people)
    people["olga"] = people["olga"].model_copy(update={"roles": ("approver",)})
    reset(world)
    with visiting(world, people=lambda: people) as visit:
        answer = approve(visit, auth=("olga", PASSPHRASE))
        assert "You started this run" in refused(answer, 409, "refused")
        assert world.book.approved == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": f"http://localhost:{PORT}"},
        {"origin": f"{ORIGIN}.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
    ],
    ids=repr,
)
def test_what_a_browser_sends_for_another_site_is_refused(visit: Visit, headers: dict[str, str]) -> None:
    """With the right passphrase, to look as well as to act."""
    refused(visit.client.get("/api/v1/me", auth=ADA, headers=headers), 403, "bad_input")
    refused(approve(visit, headers=headers), 403, "bad_input")
    assert nothing_done(visit)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:1", f"127.0.0.1:{'1' * 5000}"], ids=lambda h: h[:20]
)
def test_another_host_name_is_not_answered(visit: Visit, host: str) -> None:
    refused(visit.client.get("/api/v1/me", auth=ADA, headers={"host": host}), 421, "bad_input")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "APPROVE"])
def test_another_method_does_nothing(visit: Visit, method: str) -> None:
    for path, allowed in ((f"{visit.page}/approve", "POST"), ("/me", "GET")):
        answer = visit.client.request(method, f"/api/v1{path}", auth=ADA)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert method == "HEAD" or answer.json()["error"]["kind"] == "bad_input"
    assert nothing_done(visit)


def test_get_never_acts_whatever_it_carries(visit: Visit) -> None:
    url = f"/api/v1{visit.page}/approve"
    refused(visit.client.get(url, auth=ADA, params=GOOD), 405, "bad_input")
    for name in ("x-http-method-override", "x-http-method", "x-method-override"):
        answer = visit.client.request("GET", url, auth=ADA, json=GOOD, headers={name: "POST"})
        refused(answer, 405, "bad_input")
    refused(visit.client.get(f"/api/v1{visit.page}", auth=ADA, params={"_method": "POST"}), 400, "bad_input")
    refused(visit.client.post(url, auth=ADA, json=GOOD, params={"dry": "1"}), 400, "bad_input")
    assert nothing_done(visit)


@pytest.mark.parametrize("path", ["", "v1", "v1/", "v1/nothing", "v2/me", "v1/candidates/x/approve/more"])
def test_there_is_nothing_at_other_addresses(visit: Visit, path: str) -> None:
    refused(visit.client.get(f"/api/{path}", auth=ADA), 404, "not_found")


@pytest.mark.parametrize("kind", ["batches", "runs", "candidates", "swaps"])
def test_what_is_not_there_and_what_is_no_id(visit: Visit, kind: str) -> None:
    refused(visit.client.get(f"/api/v1/{kind}/01HZZZZZZZZZZZZZZZZZZZZZZZ", auth=ADA), 404, "not_found")
    for name in ("%00", "%ff", "..%2f", "a" * 81, "%F0%9F%98%80", "a\u202eb"):
        answer = visit.client.get(f"/api/v1/{kind}/{name}", auth=ADA)
        assert answer.status_code in (404, 422), name
        assert "error" in answer.json()


def test_a_fault_says_nothing_of_what_is_inside(world: World) -> None:
    def broken(person: str, passphrase: str) -> bool:
        raise RuntimeError(f"secret of {person}: {passphrase}")

    with visiting(world, knows=broken) as visit:
        visit.client._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
        answer = visit.client.get("/api/v1/me", auth=ADA)
        refused(answer, 500, "broken")
        assert "secret" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_every_answer_carries_the_shield(visit: Visit) -> None:
    for path in ("me", "nothing", "openapi.json"):
        headers = visit.client.get(f"/api/v1/{path}", auth=ADA, headers=OWN).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
