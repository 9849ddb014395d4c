"""Turns that were accepted by the ingress are answered once, whatever is killed or swapped meanwhile."""

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from promote_inbox import Ingress, applied
from promote_rig import ROOT, Images, Rig, rig_in, until

TURNS, SESSIONS, KILLS = 120, 6, 4


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path, images) as made:
        made.install()
        yield made


@pytest.fixture
def ingress(rig: Rig) -> Iterator[Ingress]:
    made = Ingress(rig)
    yield made
    made.kill()


def test_a_turn_is_accepted_at_once_answered_later_and_taken_once(rig: Rig, ingress: Ingress) -> None:
    rig.edge.hold()
    for _ in range(2):
        status, told = ingress.hand_in("one", "s")
        assert (status, told["id"], told["status_url"]) == (202, "one", "/v1/inbox/one")
    assert ingress.hand_in("two", "s")[0] == 202
    assert ingress.hand_in("one", "s", "echo otherwise")[0] == 409
    assert ingress.ask("GET", "/v1/inbox/one")[1]["state"] == "waiting"
    assert ingress.ask("GET", "/healthz")[1] == {"ok": True, "waiting": 2}
    rig.edge.release()
    for ident in ("one", "two"):
        told = ingress.outcome(ident)
        assert (told["state"], told["status"]) == ("answered", 200)
        assert ident in json.dumps(told["reply"])
    assert applied(rig, "s") == ["one", "two"]


def test_kills_of_the_ingress_and_a_swap_lose_nothing_and_keep_each_sessions_order(
    rig: Rig, ingress: Ingress
) -> None:
    """The least that a bake needs comes from the inbox alone: it is handed turns for as long as the swap lasts."""
    dice = random.Random(3)
    swaps: list[str] = []
    over = threading.Event()

    def strike() -> None:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.2, 0.8))
            ingress.kill()
            if not swaps:
                swaps.append(rig.promote("good"))
            ingress.start()

    handed: dict[str, list[str]] = {f"s{n}": [] for n in range(SESSIONS)}

    def hand_in(session: str) -> None:
        for number in itertools.count():
            if number >= TURNS // SESSIONS and over.wait(0.1):
                return
            ident = f"{session}-{number}"
            until(lambda ident=ident: ingress.hand_in(ident, session)[0] == 202, 60)  # type: ignore[misc]
            handed[session].append(ident)

    threads = [threading.Thread(target=hand_in, args=(session,)) for session in handed]
    for thread in threads:
        thread.start()
    try:
        strike()
        assert rig.finish(swaps[0]).state in ("committed", "rolled_back")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for session, idents in handed.items():
        outcomes = [ingress.outcome(ident) for ident in idents]
        assert {told.get("status") for told in outcomes} == {200}, outcomes
        assert applied(rig, session) == idents


def test_what_is_no_turn_or_too_much_is_refused_and_nothing_is_kept(rig: Rig) -> None:
    ingress = Ingress(rig, most=2, body_bytes=200)
    rig.edge.hold()
    try:
        for body in (b"", b"no", b"[]", b"\xff", b"[" * 150):
            assert ingress.ask("POST", "/v1/inbox", body)[0] == 400
        assert ingress.ask("POST", "/v1/inbox", b"x" * 201)[0] == 413
        assert ingress.hand_in("../../x", "s")[0] == 400
        assert ingress.hand_in("fine", "not fine")[0] == 400
        assert ingress.ask("GET", "/v1/inbox/nobody")[0] == 404
        assert ingress.ask("GET", "/v1/inbox/nobody?wait=soon")[0] == 400
        assert [ingress.hand_in(ident, ident)[0] for ident in ("a", "b", "c", "a")] == [202, 202, 503, 202]
        assert ingress.ask("GET", "/healthz")[1]["waiting"] == 2
    finally:
        rig.edge.release()
        ingress.kill()


def test_what_nobody_answers_is_given_up_and_a_failure_of_the_service_is_an_answer(rig: Rig) -> None:
    ingress = Ingress(rig, give_up_seconds=0.2)
    try:
        rig.edge_process.kill()  # type: ignore[union-attr]
        rig.edge_process.wait()  # type: ignore[union-attr]
        assert ingress.hand_in("late", "s")[0] == 202
        assert ingress.outcome("late")["state"] == "given_up"
        rig.start_edge()
        rig.edge.release()
        assert ingress.ask("POST", "/v1/inbox", {"messages": "none"}, x_request_id="bad")[0] == 202
        told = ingress.outcome("bad")
        assert (told["state"], told["status"]) == ("answered", 400)
    finally:
        ingress.kill()


def test_a_wrong_configuration_or_a_taken_port_is_one_line(rig: Rig, ingress: Ingress) -> None:
    def told(text: str) -> tuple[int, str]:
        path = rig.home / "other.json"
        path.write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "promote.ingress", "--config", str(path)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    assert told("{}")[0] == 2
    code, said = told(ingress.config.read_text())
    assert code != 0
    assert "address already in use" in said
