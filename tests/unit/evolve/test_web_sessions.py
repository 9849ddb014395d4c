"""Sessions, nonces and the limiter, on a clock that the test moves."""

from concurrent.futures import ThreadPoolExecutor

from evolve.web import sessions
from evolve.web.sessions import Limiter, Sessions


class Hand:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_bound_to_its_browser() -> None:
    desk = Sessions()
    cookie = desk.open("ada", "key", "Firefox")
    assert desk.find(cookie, "curl") is None
    found = desk.find(cookie, "Firefox")
    assert found is not None
    assert found.person == "ada"
    desk.close(cookie)
    assert desk.find(cookie, "Firefox") is None


def test_sessions_end_when_idle_and_when_old() -> None:
    clock = Hand()
    desk = Sessions(clock)
    idle, old = desk.open("ada", "key", ""), desk.open("ada", "key", "")
    clock.now += sessions.IDLE_SECONDS - 1
    assert desk.find(old, "")
    clock.now += 2
    assert desk.find(idle, "") is None
    while clock.now < 1000 + sessions.LIFE_SECONDS:
        assert desk.find(old, "")
        clock.now += sessions.IDLE_SECONDS / 2
    clock.now += 1
    assert desk.find(old, "") is None


def test_a_nonce_counts_once_for_its_act_in_its_session() -> None:
    clock = Hand()
    desk = Sessions(clock)
    mine, other = (desk.find(desk.open(p, "key", ""), "") for p in ("ada", "eve"))
    assert mine
    assert other
    nonce = desk.issue(mine, "approve c1")
    assert not desk.spend(other, nonce, "approve c1")
    assert desk.spend(mine, nonce, "approve c1")
    assert not desk.spend(mine, nonce, "approve c1")
    wrong = desk.issue(mine, "approve c1")
    assert not desk.spend(mine, wrong, "approve c2")
    assert not desk.spend(mine, wrong, "approve c1"), "a nonce shown for another act is burnt"
    late = desk.issue(mine, "approve c1")
    clock.now += sessions.NONCE_SECONDS + 1
    assert not desk.spend(mine, late, "approve c1")
    assert not desk.spend(mine, "", "")


def test_nonces_and_sessions_are_bounded() -> None:
    desk = Sessions()
    first = desk.open("ada", "key", "")
    mine = desk.find(first, "")
    assert mine
    oldest = desk.issue(mine, "a")
    for _ in range(sessions.NONCES_PER_SESSION):
        desk.issue(mine, "a")
    assert not desk.spend(mine, oldest, "a")
    for _ in range(sessions.SESSIONS):
        desk.open("eve", "key", "")
    assert desk.find(first, "") is None


def test_five_tries_and_the_name_waits() -> None:
    clock = Hand()
    limiter = Limiter(for_person=5, seconds=300, clock=clock)
    assert [limiter.take("ada", "here") for _ in range(6)] == [0, 0, 0, 0, 0, 300]
    assert limiter.take("vera", "here") == 0
    clock.now += 299
    assert limiter.take("ada", "there") == 1, "another address does not help"
    clock.now += 2
    assert limiter.take("ada", "there") == 0


def test_an_address_waits_whatever_the_names() -> None:
    clock = Hand()
    limiter = Limiter(for_person=5, for_address=20, seconds=300, clock=clock)
    assert {limiter.take(f"guess-{index}", "here") for index in range(20)} == {0}
    assert limiter.take("somebody-new", "here") == 300
    assert limiter.take("somebody-new", "there") == 0
    clock.now += 300
    assert limiter.take("somebody-new", "here") == 0


def test_success_forgives_one_name_only() -> None:
    limiter = Limiter(for_person=2, for_address=4, clock=Hand())
    for _ in range(3):
        assert limiter.take("ada", "here") == 0
        limiter.succeeded("ada")
    for index in range(4):
        assert limiter.take(f"guess-{index}", "here") == 0
    limiter.succeeded("ada")
    assert limiter.take("ada", "here") > 0, "the others' tries count on"


def test_tries_at_the_same_time_are_all_counted() -> None:
    limiter = Limiter(for_person=5, clock=Hand())
    with ThreadPoolExecutor(16) as pool:
        heard = list(pool.map(lambda _: limiter.take("ada", "here") == 0, range(64)))
    assert heard.count(True) == 5
