"""Promotions whose state the old image can't read: who must agree, what a rollback then keeps, and what it gives up."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from promote_inbox import Ingress, applied
from promote_rig import LOSSY, Images, Rig, rig_in, until
from promote_traffic import Traffic
from promote_trial import Overlap

from evidence.canonical import new_id, utcnow
from evidence.ledger import Ledger
from promote.records import SwapRecord
from promote.wire import Refused, Unreachable

DAYS = 86_400.0
COMPATIBLE = {**LOSSY, "rollback_class": "forward_compatible"}


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path / "rig", images, bake_seconds=0.3, bake_turns=6, inbox=True) as made:
        made.install()
        yield made


@pytest.fixture
def ingress(rig: Rig) -> Iterator[Ingress]:
    made = Ingress(rig)
    yield made
    made.kill()


class Callers:
    """Hand turns in without pause, a session each, three ahead of the answers."""

    def __init__(self, ingress: Ingress, sessions: int = 3) -> None:
        self._ingress, self._stop = ingress, threading.Event()
        self.handed: dict[str, list[str]] = {f"s{n}-{new_id()}": [] for n in range(sessions)}
        self._threads = [threading.Thread(target=self._run, args=(session,)) for session in self.handed]

    def _run(self, session: str) -> None:
        mine = self.handed[session]
        while not self._stop.wait(0.02):
            ident = f"{session}-{len(mine)}"
            status, _ = self._ingress.hand_in(ident, session)
            assert status == 202
            mine.append(ident)
            if len(mine) > 3:
                self._ingress.ask("GET", f"/v1/inbox/{mine[-3]}?wait=5")

    def require_answers(self, rig: Rig) -> None:
        """Every accepted turn was answered and took effect once, a session's in their order."""
        for session, idents in self.handed.items():
            outcomes = [until(lambda ident=ident: self._answer(ident), 60) for ident in idents]  # type: ignore[misc]
            assert {told["status"] for told in outcomes} == {200}
            assert applied(rig, session) == idents

    def _answer(self, ident: str) -> dict[str, object] | None:
        told = self._ingress.outcome(ident)
        return told if told["state"] == "answered" else None


@contextmanager
def callers(ingress: Ingress) -> Iterator[Callers]:
    made = Callers(ingress)
    for thread in made._threads:
        thread.start()
    try:
        yield made
    finally:
        made._stop.set()
        for thread in made._threads:
            thread.join()


def generations(rig: Rig) -> set[str]:
    return {path.name for path in (rig.home / "promote" / "state").glob("gen-*")}


def kept(rig: Rig) -> dict[int, float]:
    """Generation and for how many days it is still kept."""
    with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
        pointer = ledger.pointer("kept") or {"generations": []}
    now = utcnow().timestamp()
    return {item["generation"]: (item["until"] - now) / DAYS for item in pointer["generations"]}  # type: ignore[attr-defined]


def require_old_state(rig: Rig, record: SwapRecord) -> None:
    """The old image is live on the generation that was never touched, and the new one is kept for a week."""
    assert (record.live_image, record.generation) == (rig.images.digest("base"), 1)
    assert record.rollback_class == "lossy" or record.kind == "rollback"
    assert record.kept_generation == 2
    assert "gen-2" in generations(rig)
    assert 6.9 < kept(rig)[2] < 7.1


def test_a_forward_compatible_state_is_kept_by_a_rollback(rig: Rig) -> None:
    with Traffic(rig, clients=2, pause=0.03) as traffic:
        record = rig.finish(rig.promote("newer", **COMPATIBLE))  # type: ignore[arg-type]
        assert (record.state, record.rollback_class) == ("committed", "forward_compatible"), record.reason
        back = rig.finish(rig.client.rollback("otto", "drill"))
    assert (back.state, back.generation, back.kept_generation) == ("rolled_back", 2, None)
    assert traffic.lost_or_doubled() == []


def test_an_image_that_can_not_read_the_old_state_never_goes_live_whoever_approves(rig: Rig) -> None:
    assert rig.ask("echo hi", "s")[0] == 200
    record = rig.finish(rig.promote("blind", both=True, rollback_class="lossy"))
    assert record.state == "closed"
    assert "on a copy: tiny: state schema 1 is not one of (2,)" in record.reason


def test_a_lossy_promotion_takes_two_and_can_be_committed(rig: Rig) -> None:
    with pytest.raises(Refused, match=r"1 of 2 approvers have signed: .*a rollback would lose writes"):
        rig.promote("lossy", **{**LOSSY, "both": False})  # type: ignore[arg-type]
    with Traffic(rig, clients=2, pause=0.03) as traffic:
        record = rig.finish(rig.promote("lossy", **LOSSY))  # type: ignore[arg-type]
    assert (record.state, record.rollback_class, record.kept_generation) == ("committed", "lossy", None)
    assert traffic.lost_or_doubled() == []


def test_a_lossy_promotion_that_fails_before_the_release_loses_nothing(rig: Rig, ingress: Ingress) -> None:
    with Traffic(rig, clients=2, pause=0.03) as traffic, callers(ingress) as inbox:
        record = rig.finish(rig.promote("lossy_refuses", **LOSSY))  # type: ignore[arg-type]
    assert (record.state, record.generation, record.kept_generation) == ("rolled_back", 1, None)
    assert record.replayed is None
    assert traffic.lost_or_doubled() == []
    inbox.require_answers(rig)


@pytest.mark.parametrize("kind", ["lossy_late_bad", "lossy_late_death"])
def test_a_lossy_promotion_that_fails_in_the_bake_goes_back_and_answers_the_inbox_anew(
    rig: Rig, ingress: Ingress, kind: str
) -> None:
    with callers(ingress) as inbox, Overlap(rig) as overlap:
        record = rig.finish(rig.promote(kind, bake_turns=60, **LOSSY))  # type: ignore[arg-type]
    assert record.state == "rolled_back"
    require_old_state(rig, record)
    assert record.replayed
    assert overlap.seen == ""
    inbox.require_answers(rig)


def test_a_lossy_promotion_is_rolled_back_after_the_commit_without_asking_twice(
    rig: Rig, ingress: Ingress
) -> None:
    assert rig.ask("echo before", "direct")[0] == 200
    with callers(ingress) as inbox:
        assert rig.finish(rig.promote("lossy", **LOSSY)).state == "committed"  # type: ignore[arg-type]
        assert rig.ask("echo after", "direct", "lost")[0] == 200
        record = rig.finish(rig.client.rollback("otto", "users complain"))
    assert record.state == "rolled_back"
    require_old_state(rig, record)
    inbox.require_answers(rig)
    assert "lost" not in applied(rig, "direct")
    assert len(applied(rig, "direct")) == 1


def test_without_an_inbox_what_users_wrote_since_the_release_is_given_up(
    images: Images, tmp_path: Path
) -> None:
    with rig_in(tmp_path / "rig", images, bake_seconds=0.3, bake_turns=60) as rig:
        rig.install()
        with Traffic(rig, clients=2, pause=0.03):
            record = rig.finish(rig.promote("lossy_late_bad", **LOSSY))  # type: ignore[arg-type]
        require_old_state(rig, record)
        assert (record.state, record.replayed) == ("rolled_back", None)
        assert rig.ask("echo hi", "s")[0] == 200


@pytest.mark.parametrize(
    "points",
    [
        ("RB_CHOOSE.before", "RB_START.effect", "RB_REPLAY.intent", "RB_REPLAY.done"),
        ("RB_CHOOSE.done", "RB_REPLAY.before", "RB_REPLAY.effect"),
        ("ROLLED_BACK.before", "ROLLED_BACK.within", "ROLLED_BACK.done"),
    ],
)
def test_kills_on_the_lossy_way_back_end_on_the_old_state_with_every_turn_of_the_inbox(
    rig: Rig, ingress: Ingress, points: tuple[str, ...]
) -> None:
    rig.kill_promoter()
    left = list(points)
    rig.start_promoter(PROMOTE_KILL_AT=f"{left.pop(0)}:1")
    until(rig.client.status, 60.0)
    with callers(ingress) as inbox, Overlap(rig) as overlap:
        swap = rig.promote("lossy_late_bad", bake_turns=60, **LOSSY)  # type: ignore[arg-type]
        deaths = 0
        while deaths < len(points):
            assert rig.promoter_process is not None
            assert rig.promoter_process.wait(60) == -9
            deaths += 1
            rig.start_promoter(**({"PROMOTE_KILL_AT": f"{left.pop(0)}:1"} if left else {}))
        record = until(lambda: _record(rig, swap), 60)
        until(lambda: not rig.edge.status().held, 60.0)
    assert record.state == "rolled_back"
    require_old_state(rig, record)
    assert overlap.seen == ""
    inbox.require_answers(rig)


def _record(rig: Rig, swap: str) -> SwapRecord | None:
    try:
        return rig.client.record(swap)
    except Unreachable:
        return None


def test_what_is_kept_for_repair_outlives_later_swaps_and_goes_when_its_time_is_over(rig: Rig) -> None:
    with Traffic(rig, clients=2, pause=0.03):
        record = rig.finish(rig.promote("lossy_late_bad", bake_turns=60, **LOSSY))  # type: ignore[arg-type]
        assert record.kept_generation == 2
        for kind in ("good", "base", "good", "base"):
            assert rig.finish(rig.promote(kind)).state == "committed"
    assert "gen-2" in generations(rig)
    assert "gen-3" not in generations(rig)
    rig.kill_promoter()
    with Ledger(rig.home / "promote" / "ledger.db") as ledger, ledger.transaction() as txn:
        txn.set_pointer("kept", {"generations": [{"generation": 2, "until": utcnow().timestamp() - 1}]})
    rig.start_promoter()
    until(rig.client.status, 60.0)
    with Traffic(rig, clients=2, pause=0.03):
        assert rig.finish(rig.promote("good")).state == "committed"
    assert "gen-2" not in generations(rig)


def test_an_inbox_that_can_not_be_read_is_told_and_waits_for_a_person(rig: Rig) -> None:
    with Traffic(rig, clients=2, pause=0.03):
        assert rig.finish(rig.promote("lossy", **LOSSY)).state == "committed"  # type: ignore[arg-type]
    for path in rig.inbox_file.parent.iterdir():
        path.unlink()
    rig.inbox_file.write_bytes(b"no database " * 1000)
    record = rig.finish(rig.client.rollback("otto", "users complain"))
    assert record.state == "closed"
    assert "the inbox can't be used" in record.reason
    assert rig.live_image() == rig.images.digest("lossy")
    assert rig.ask("echo hi", "s")[0] == 200
    assert json.dumps(kept(rig)) == "{}"
