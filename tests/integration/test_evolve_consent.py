"""Who consents, over the real command: several signatures under one approval, races, and all the ways to consent that are
none."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from evolve_world import APPROVER, PASSPHRASE, REQUESTER, World
from fastapi import FastAPI
from fastapi.testclient import TestClient

from evidence.canonical import canonical_json
from evidence.ledger import Ledger
from evolve import consent
from evolve.errors import NeedsConsent
from evolve.home import add_person
from evolve.product import Product
from evolve.settings import FILE_NAME, load_settings
from evolve.web.__main__ import consent_of as consent_of_page
from evolve.web.app import create_app
from promote.approval import SignedApproval
from promote.keys import sign, sign_as

SECOND, THIRD = "bea", "cleo"
GIVEN = PASSPHRASE + "\n"


@pytest.fixture(scope="module")
def ready(sealed_world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, Any]]:
    """A home with a converged candidate and three approvers; two must sign. Copy it, never change it."""
    world = sealed_world.copy(tmp_path_factory.mktemp("ready") / "home")
    for name in (SECOND, THIRD):
        add_person(load_settings(world.home), name, ("approver",), PASSPHRASE)
    set_needed(world, 2)
    run = world.ok("run", "start", world.batch("sum"), "--coder", "sum", "--reason", "users complain")
    assert run["verdict"] == "converged", run
    return world, dict(next(c for c in world.ok("candidate") if c["id"] == run["candidate_id"]))


@pytest.fixture
def world(ready: tuple[World, dict[str, Any]], tmp_path: Path) -> World:
    return ready[0].copy(tmp_path / "home")


@pytest.fixture
def candidate(ready: tuple[World, dict[str, Any]]) -> dict[str, Any]:
    return ready[1]


def set_needed(world: World, count: int) -> None:
    path = world.home / FILE_NAME
    text = path.read_text().replace("approvers_needed = 2\n", "")
    path.write_text(
        text.replace('policy = "separate"\n', f'policy = "separate"\napprovers_needed = {count}\n')
    )


def take_role(world: World, who: str) -> None:
    path = world.home / FILE_NAME
    head, mark, tail = path.read_text().partition(f"[consent.people.{who}]")
    path.write_text(head + mark + tail.replace('roles = ["approver"]', 'roles = ["viewer"]', 1))


def words(candidate: dict[str, Any], who: str) -> tuple[str, ...]:
    digits = str(candidate["image"])[-8:]
    return (
        *("approve", candidate["id"], "--reason", f"{who} read it", "--as", who),
        *("--passphrase-stdin", "--digest", digits),
    )


def consent_of(world: World, candidate: dict[str, Any]) -> dict[str, Any]:
    return dict(world.ok("candidate", "show", candidate["id"])["consent"])


def files(world: World) -> list[Path]:
    return sorted((world.home / "approvals").rglob("approval.json"))


def signatures(world: World) -> set[str]:
    [path] = files(world)
    return set(json.loads(path.read_text())["signatures"])


def signed_rows(world: World) -> list[str]:
    with Ledger(world.home / "ledger.db", create=False) as ledger:
        return [entry.who for entry in ledger.entries() if entry.kind == "approval.signed"]


@contextmanager
def writers_wait(world: World) -> Iterator[None]:
    """Whoever wants to write to the database has to wait; looking goes on."""
    with closing(sqlite3.connect(world.home / "evolve.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


SIGNER = """
import sys
from pathlib import Path
from evolve import consent
from evolve.errors import Refused
from evolve.product import Product

home, candidate, who, passphrase = sys.argv[1:]
with Product.open(Path(home)) as product:
    print("open", flush=True)
    sys.stdin.readline()
    try:
        consent.approve(product, candidate, person=who, passphrase=passphrase, reason="read it")
        print("signed", flush=True)
    except Refused as error:
        print(f"{error.message} ({error.hint})", flush=True)
"""


class Signer:
    """A process that is ready to sign, and signs when it is told."""

    def __init__(self, world: World, candidate: dict[str, Any], who: str) -> None:
        argv = [sys.executable, "-c", SIGNER, str(world.home), candidate["id"], who, PASSPHRASE]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline() == "open\n"

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> str:
        return self.process.communicate(timeout=60)[0].strip()


def test_two_people_sign_the_same_bytes(world: World, candidate: dict[str, Any]) -> None:
    assert (consent_of(world, candidate)["signed"], consent_of(world, candidate)["needed"]) == ([], 2)
    first = world.ok(*words(candidate, APPROVER), given=GIVEN)
    assert (first["signed"], first["needed"], first["complete"]) == ([APPROVER], 2, False)
    [kept] = files(world)
    before = json.loads(kept.read_text())["approval"]
    assert world.ok("candidate", "show", candidate["id"])["candidate"]["state"] == "ready"
    assert "1 of 2 have signed: ana" in world.run("candidate", "show", candidate["id"]).out

    error = world.refused(4, "needs_consent", "promote", candidate["id"])
    assert "1 of 2 have signed" in error["message"]
    error = world.refused(1, "refused", *words(candidate, APPROVER), given=GIVEN)
    assert "ana has signed" in error["message"]
    world.refused(4, "needs_consent", *words(candidate, REQUESTER), given=GIVEN)
    assert signatures(world) == {APPROVER}

    second = world.ok(*words(candidate, SECOND), given=GIVEN)
    assert (second["approval"], second["complete"]) == (first["approval"], True)
    assert json.loads(kept.read_text())["approval"] == before
    assert signatures(world) == {APPROVER, SECOND}
    [found] = [c for c in world.ok("candidate") if c["id"] == candidate["id"]]
    assert (found["state"], found["decided_by"]) == ("approved", "ana, bea")
    error = world.refused(1, "refused", *words(candidate, THIRD), given=GIVEN)
    assert "2 of 2 have signed" in error["message"]
    assert signed_rows(world) == [APPROVER, SECOND]
    error = world.refused(5, "broken", "promote", candidate["id"])  # only the promoter is missing now
    assert "promoter" in error["message"]


@pytest.mark.parametrize("begun", [False, True], ids=["to begin an approval", "to add to one"])
def test_of_two_who_sign_at_the_same_instant_none_is_lost(
    world: World, candidate: dict[str, Any], begun: bool
) -> None:
    set_needed(world, 3)
    if begun:
        world.ok(*words(candidate, THIRD), given=GIVEN)
    people = (APPROVER, SECOND)
    signers = {who: Signer(world, candidate, who) for who in people}
    with writers_wait(world):
        for signer in signers.values():
            signer.go()
        time.sleep(2)  # by now both have looked, and want to write
    ends = {who: signer.end() for who, signer in signers.items()}
    counted = {who for who, said in ends.items() if said == "signed"} | ({THIRD} if begun else set())
    assert signatures(world) == counted
    assert sorted(signed_rows(world)) == sorted(counted)
    assert all(said == "signed" or "try again" in said for said in ends.values()), ends
    if begun:
        assert counted == {*people, THIRD}
    for who in people:
        if who not in counted:
            world.ok(*words(candidate, who), given=GIVEN)
    assert signatures(world) >= set(people)


def test_a_signer_who_lost_the_role_voids_what_was_signed(world: World, candidate: dict[str, Any]) -> None:
    first = world.ok(*words(candidate, APPROVER), given=GIVEN)
    take_role(world, APPROVER)
    assert "ana may not approve" in consent_of(world, candidate)["void"]
    assert "ana may not approve" in world.refused(1, "refused", "promote", candidate["id"])["message"]
    anew = world.ok(*words(candidate, SECOND), given=GIVEN)
    assert (anew["signed"], anew["approval"] == first["approval"]) == ([SECOND], False)
    assert signatures(world) == {SECOND}
    assert world.ok(*words(candidate, THIRD), given=GIVEN)["complete"]


def test_an_approval_as_lossy_takes_the_word_of_everyone_who_signs(
    world: World, candidate: dict[str, Any]
) -> None:
    set_needed(world, 1)
    assert consent_of(world, candidate)["rollback_class"] == "same"
    lossy = world.ok(*words(candidate, APPROVER), "--accept-lossy", given=GIVEN)
    assert (lossy["rollback_class"], lossy["needed"], lossy["complete"]) == ("lossy", 2, False)
    assert lossy["because"] == ["a rollback would lose writes"]
    assert "may lose everything that users wrote" in consent_of(world, candidate)["rollback"]
    error = world.refused(4, "needs_consent", *words(candidate, SECOND), given=GIVEN)
    assert "lossy" in error["message"]
    assert "expand, then contract" in error["hint"]
    assert signatures(world) == {APPROVER}
    assert world.ok(*words(candidate, SECOND), "--accept-lossy", given=GIVEN)["complete"]
    signed = SignedApproval.model_validate_json(files(world)[0].read_bytes())
    assert (signed.approval.rollback_class, signed.approval.replays_inbox) == ("lossy", False)


def test_what_was_signed_for_another_class_begins_anew_as_lossy(
    world: World, candidate: dict[str, Any]
) -> None:
    first = world.ok(*words(candidate, APPROVER), given=GIVEN)
    anew = world.ok(*words(candidate, SECOND), "--accept-lossy", given=GIVEN)
    assert (anew["signed"], anew["approval"] == first["approval"]) == ([SECOND], False)
    assert signatures(world) == {SECOND}


def test_declining_voids_what_was_signed(world: World, candidate: dict[str, Any]) -> None:
    for who in (APPROVER, SECOND):
        world.ok(*words(candidate, who), given=GIVEN)
    world.ok("decline", candidate["id"], "--reason", "second thoughts", "--as", THIRD)
    assert files(world) == []
    world.refused(4, "needs_consent", "promote", candidate["id"])
    world.refused(1, "refused", *words(candidate, THIRD), given=GIVEN)


def test_a_forged_file_is_nobodys_approval(world: World, candidate: dict[str, Any]) -> None:
    """Dropped where approvals lie: by a program that can write there, and has no key that is registered."""
    world.ok(*words(candidate, APPROVER), given=GIVEN)
    [real] = files(world)
    kept = real.read_bytes()
    honest = SignedApproval.model_validate_json(kept)
    stranger = Ed25519PrivateKey.generate()
    dropped = world.home / "approvals" / ("f" * 64)
    shutil.copytree(real.parent, dropped)
    (dropped / "approval.json").write_bytes(
        canonical_json(sign_as(SECOND, honest.approval, stranger, honest))
    )
    assert (consent_of(world, candidate)["signed"], consent_of(world, candidate)["void"]) == ([APPROVER], "")
    assert "1 of 2" in world.refused(4, "needs_consent", "promote", candidate["id"])["message"]

    other = honest.approval.model_copy(update={"bake_seconds": 10.0, "reason": "forged", "approver": SECOND})
    for forged, kind, why in (
        (
            sign_as(SECOND, honest.approval, stranger, honest),
            "refused",
            "bea's signature is not over these bytes",
        ),
        (sign_as("mallory", honest.approval, stranger, honest), "refused", "mallory is not registered"),
        (sign(other, stranger), "broken", "not the approval that was signed"),
        (None, "broken", "gone or damaged"),
    ):
        real.write_bytes(b"{" if forged is None else canonical_json(forged))
        assert why in consent_of(world, candidate)["void"]
        code = {"refused": 1, "broken": 5}[kind]
        assert why in world.refused(code, kind, "promote", candidate["id"])["message"]

    real.write_bytes(kept)
    (real.parent / "capability_diff.json").write_bytes(b"[]")
    assert "capability_diff.json" in consent_of(world, candidate)["void"]
    shutil.rmtree(real.parent)
    anew = world.ok(*words(candidate, SECOND), given=GIVEN)
    assert (anew["signed"], anew["complete"]) == ([SECOND], False)
    assert signed_rows(world) == [APPROVER, SECOND]


def test_a_candidate_that_nobody_approved_is_not_approved_by_a_file(
    world: World, candidate: dict[str, Any]
) -> None:
    dropped = world.home / "approvals" / "00" / "approval.json"
    dropped.parent.mkdir(parents=True)
    dropped.write_text('{"approval": {}, "signatures": {"ana": ""}}')
    assert consent_of(world, candidate)["approval"] is None
    world.refused(4, "needs_consent", "promote", candidate["id"])


def test_the_page_collects_signatures_by_the_same_rules(world: World, candidate: dict[str, Any]) -> None:
    """The real consent behind the real page; only the promoter is missing, and is told so when all have signed."""
    with Product.open(world.home) as product:
        app = create_app(product.settings, product.store, consent_of_page(product), port=8711)
        first = decide(app, candidate, APPROVER)
        assert first.status_code == 303
        assert signatures(world) == {APPROVER}
        error = decide(app, candidate, THIRD, passphrase="wrong passphrase")
        assert (error.status_code, "not your passphrase" in error.text) == (403, True)
        second = decide(app, candidate, SECOND)
        assert second.status_code == 503
        assert "signed, but not handed in: the promoter does not answer" in second.text
        take_role(world, THIRD)
        asked = {"person": THIRD, "passphrase": PASSPHRASE, "reason": "still open"}
        with pytest.raises(NeedsConsent, match="cleo may not approve"):
            consent.approve(product, candidate["id"], **asked)
    assert signatures(world) == {APPROVER, SECOND}
    assert signed_rows(world) == [APPROVER, SECOND]
    [found] = [c for c in world.ok("candidate") if c["id"] == candidate["id"]]
    assert (found["state"], found["decided_reason"]) == ("approved", "ana looked; bea looked")


def decide(
    app: FastAPI, candidate: dict[str, Any], who: str, passphrase: str = PASSPHRASE
) -> httpx2.Response:
    """Sign in with a browser of their own, open the candidate, fill in its form."""
    own = {"origin": "http://127.0.0.1:8711", "sec-fetch-site": "same-origin", "sec-fetch-dest": "document"}
    page = f"/candidates/{candidate['id']}"
    with TestClient(app, base_url=own["origin"], follow_redirects=False) as client:
        known = {"nonce": nonce(client, "/signin"), "person": who, "passphrase": PASSPHRASE}
        assert client.post("/signin", data=known, headers=own).status_code == 303
        form = {
            "nonce": nonce(client, page),
            "reason": f"{who} looked",
            "digits": str(candidate["image"])[-8:],
        }
        return client.post(f"{page}/approve", data={**form, "passphrase": passphrase}, headers=own)


def nonce(client: TestClient, path: str) -> str:
    found = re.search(r'name="nonce" value="([^"]*)"', client.get(path).text)
    assert found
    return found[1]
