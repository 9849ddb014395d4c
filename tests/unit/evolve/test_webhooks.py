"""What others are told: each transition once, signed, until it was taken; and nowhere that it must not go."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import get_args

import pytest
from httpcore2 import ConnectError
from sqlmodel import delete
from web_world import World, make_home, make_world
from webhook_receiver import Receiver, receiving

from evidence.canonical import utcnow
from evidence.ledger import Ledger
from evolve.background import again_and_again
from evolve.errors import BadInput
from evolve.settings import FILE_NAME, Settings, WebhookEvent, WebhookSection, load_settings
from evolve.tables import WebhookCursorRow, WebhookRow
from evolve.webhooks import courier, outbox
from evolve.webhooks.address import is_public
from evolve.webhooks.send import PublicOnly, send, sign

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as there:
        yield there


@dataclass
class Office:
    """A product with one webhook, looked at by a clock of its own."""

    world: World
    settings: Settings
    now: datetime = field(default_factory=utcnow)
    said: list[str] = field(default_factory=list)

    def deliver(self, later: timedelta = timedelta(0)) -> int:
        self.now += later
        return courier.deliver(self.settings, self.world.store, self.said.append, lambda: self.now)

    def happen(self, kind: str, **data: object) -> None:
        with Ledger(self.settings.home / "ledger.db") as ledger:
            ledger.append(kind, data)

    def swap_ends(self, state: str, swap: str = "swap-1") -> None:
        record = {
            "swap": swap,
            "state": state,
            "kind": "promotion",
            "target_image": "sha256:0",
            "reason": "secret",
        }
        with Ledger(self.settings.home / "promote" / "ledger.db") as ledger:
            ledger.append("swap", {"swap": swap, "state": state.upper(), "record": record})

    def rows(self) -> list[tuple[str, int]]:
        with self.world.store.read() as session:
            return [(row.state, row.attempts) for row in outbox.messages(session)]


def hook(url: str, **more: object) -> WebhookSection:
    return WebhookSection.model_validate({"url": url, "secret": SECRET, "allow_private": True, **more})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("webhooks") / "home"), regression=2)
    yield built
    built.close()


@pytest.fixture
def office(world: World, receiver: Receiver) -> Office:
    with world.store.write() as session:
        session.exec(delete(WebhookRow))
        session.exec(delete(WebhookCursorRow))
    settings = world.settings.model_copy(update={"webhooks": (hook(receiver.url),)})
    there = Office(world, settings)
    there.deliver()
    return there


def test_the_first_look_begins_at_the_end(office: Office, receiver: Receiver) -> None:
    office.happen("batch.ready", change="old", subject="b")
    with office.world.store.write() as session:
        session.exec(delete(WebhookCursorRow))
    assert (office.deliver(), receiver.got) == (0, [])
    office.happen("batch.ready", change="new", subject="b")
    assert (office.deliver(), receiver.types) == (1, ["batch.ready"])


def test_every_transition_is_told_once_and_signed(office: Office, receiver: Receiver) -> None:
    world = office.world
    office.happen("batch.ready", change="c1", subject=world.batch_id)
    office.happen("run.ended", change="c2", run=world.run_id, verdict="converged")
    for state in ("committed", "rolled_back", "quarantined", "rejected", "closed"):
        office.swap_ends(state)
    office.happen("run.ended", change="c3", run=world.run_id, verdict="needs_work")
    office.happen("batch.sealed", change="c4", subject=world.batch_id)
    assert office.deliver() == 5
    assert receiver.types == list(get_args(WebhookEvent))
    assert len(set(receiver.ids)) == 5
    for headers, body in receiver.got:
        stamp = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == sign(b"k" * 32, headers["webhook-id"], stamp, body)
        assert headers["content-type"] == "application/json"
        assert b"secret" not in body
    first, second, third = (json.loads(body)["data"] for _, body in receiver.got[:3])
    assert first == {"batch": world.batch_id}
    assert (second["candidate"], second["run"]) == (world.candidate_id, world.run_id)
    assert (third["swap"], third["target_image"]) == ("swap-1", "sha256:0")
    assert (office.deliver(timedelta(days=2)), len(receiver.got)) == (0, 5), "never again"


def test_the_signature_is_the_specification_s() -> None:
    """Its published example."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_is_not_taken_is_sent_again_with_the_same_id_and_bytes(
    office: Office, receiver: Receiver
) -> None:
    office.happen("batch.ready", change="c1", subject="b")
    receiver.status = 500
    for wait in outbox.BACKOFF[:3]:
        assert office.deliver() == 0
        assert office.deliver(wait - timedelta(seconds=1)) == 0
        office.now += timedelta(seconds=1)
    assert len(receiver.got) == 3, "once a wait, not before"
    receiver.status = 200
    assert office.deliver() == 1
    assert len(set(receiver.ids)) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.got}) == 4
    assert office.rows() == [("sent", 4)]
    assert "it answered 500; tried again at" in office.said[0]


def test_after_the_last_wait_it_is_given_up(office: Office, receiver: Receiver) -> None:
    office.happen("batch.ready", change="c1", subject="b")
    receiver.status = 503
    for wait in (*outbox.BACKOFF, timedelta(days=3), timedelta(days=3)):
        office.deliver()
        office.now += wait
    assert office.rows() == [("given_up", len(outbox.BACKOFF) + 1)]
    assert office.said[-1].endswith("given up")


@pytest.mark.parametrize(
    ("status", "row"), [(410, ("given_up", 1)), (302, ("waiting", 1)), (404, ("waiting", 1))]
)
def test_only_2xx_takes_it_and_redirects_lead_nowhere(
    office: Office, receiver: Receiver, status: int, row: tuple[str, int]
) -> None:
    office.happen("batch.ready", change="c1", subject="b")
    receiver.status = status
    assert (office.deliver(), len(receiver.got), office.rows()) == (0, 1, [row])


def test_a_sender_that_died_is_followed_by_another_with_the_same_id(
    office: Office, receiver: Receiver
) -> None:
    office.happen("batch.ready", change="c1", subject="b")
    ledgers = {"product": office.settings.home / "ledger.db"}
    outbox.gather(office.world.store, ledgers, office.settings.webhooks, office.now)
    held = outbox.claim(office.world.store, receiver.url, office.now)
    assert held is not None
    assert office.deliver() == 0, "it is another's for now"
    assert office.deliver(outbox.LEASE) == 1
    assert receiver.ids == [held.id]


def test_an_entry_that_was_written_twice_is_one_message(office: Office, receiver: Receiver) -> None:
    office.happen("batch.ready", change="c1", subject="b")
    office.happen("batch.ready", change="c1", subject="b")
    assert (office.deliver(), len(receiver.got)) == (1, 1)


def test_messages_and_how_far_was_read_are_written_together(office: Office, receiver: Receiver) -> None:
    office.happen("batch.ready", change="c1", subject="b")
    office.happen("batch.ready", change="c2", subject="b")
    with office.world.store.write() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON webhook_cursor BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(Exception, match="disk full"):
        office.deliver()
    assert office.rows() == []
    with office.world.store.write() as session:
        session.connection().exec_driver_sql("DROP TRIGGER full")
    assert (office.deliver(), len(receiver.got)) == (2, 2)


def test_one_dead_address_holds_up_no_other_and_events_are_chosen(office: Office, receiver: Receiver) -> None:
    dead = hook("http://127.0.0.1:9/", events=["batch.ready", "swap.committed"])
    office.settings = office.settings.model_copy(
        update={"webhooks": (dead, hook(receiver.url, events=["swap.committed"]))}
    )
    office.happen("batch.ready", change="c1", subject="b")
    office.swap_ends("committed")
    assert office.deliver() == 1
    assert receiver.types == ["swap.committed"]
    assert sorted(office.rows()) == [("sent", 1), ("waiting", 0), ("waiting", 1)], (
        "one try at the dead one a round"
    )
    assert not any(SECRET in line for line in office.said)


def test_it_runs_beside_the_page(office: Office, receiver: Receiver) -> None:
    deliver = partial(courier.deliver, office.settings, office.world.store, office.said.append)
    with again_and_again("webhooks", deliver, office.said.append):
        office.happen("batch.ready", change="c1", subject="b")
        guard = time.monotonic() + 60
        while not receiver.got and time.monotonic() < guard:
            time.sleep(0.05)
    assert receiver.types == ["batch.ready"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) == public


def test_a_name_is_looked_at_where_it_leads(receiver: Receiver) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])
    with pytest.raises(ConnectError, match="not public"):
        PublicOnly().connect_tcp("localhost", port)
    inward = hook(receiver.url).model_copy(update={"allow_private": False})
    answer = send(inward, "msg_1", 1, b"{}")
    assert (answer.taken, "not public" in answer.why, receiver.got) == (False, True, [])


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ('url = "ftp://example.org/"', "webhooks.0"),
        ('url = "file:///etc/passwd"', "webhooks.0"),
        ('url = "http://"', "webhooks.0"),
        ('url = "https://user:word@example.org/"', "webhooks.0"),
        ('url = "http://127.0.0.1:8711/"', "webhooks.0"),
        ('url = "http://127.1/"', "webhooks.0"),
        ('url = "http://2130706433/"', "webhooks.0"),
        ('url = "http://[::1]/"', "webhooks.0"),
        ('url = "http://LOCALHOST/"', "webhooks.0"),
        ('url = "http://169.254.169.254/latest"', "webhooks.0"),
        ('url = "https://example.org/"\nevents = ["batch.opened"]', "webhooks.0.events.0"),
        ('url = "https://example.org/"\nsecret = "hunter2"', "webhooks.0.secret"),
        ('url = "https://example.org/"\nsecret = "whsec_c2hvcnQ="', "webhooks.0.secret"),
    ],
)
def test_a_wrong_webhook_is_refused_with_its_place(tmp_path: Path, lines: str, where: str) -> None:
    secret = "" if "secret" in lines else f'\nsecret = "{SECRET}"'
    (tmp_path / FILE_NAME).write_text(f"[[webhooks]]\n{lines}{secret}\n")
    with pytest.raises(BadInput) as caught:
        load_settings(tmp_path)
    assert f": {where}: " in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_two_webhooks_with_one_address_are_refused(tmp_path: Path) -> None:
    one = f'[[webhooks]]\nurl = "https://example.org/"\nsecret = "{SECRET}"\n'
    (tmp_path / FILE_NAME).write_text(one)
    [found] = load_settings(tmp_path).webhooks
    assert (found.events, found.allow_private) == (get_args(WebhookEvent), False)
    assert SECRET not in repr(found)
    (tmp_path / FILE_NAME).write_text(one + one)
    with pytest.raises(BadInput, match="same url"):
        load_settings(tmp_path)
