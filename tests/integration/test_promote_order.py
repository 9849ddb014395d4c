"""The order of things in a whole swap: what must have happened before what, and how often it may be tried again."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from promote_rig import Images, Rig, rig_in, until
from promote_strikes import Mend, kill_edge
from promote_traffic import Traffic
from promote_trial import BROKEN, FORWARD, Plan, Trial

from evidence.ledger import Ledger
from promote.journal import checkpoint_of
from promote.wire import Unreachable


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path / "rig", images, bake_seconds=0.3, bake_turns=6) as made:
        yield made


def starts(rig: Rig) -> list[int]:
    """The epoch of every start that the promoter recorded, in order."""
    found: dict[str, int] = {}
    with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
        for entry in ledger.entries():
            value = entry.data.get("value") if entry.kind == "ledger.pointer" else None
            if isinstance(value, dict):
                back = value.get("rollback") or {}
                for live in (value, value.get("candidate") or {}, back.get("live") or {}):
                    if live.get("boot_nonce"):
                        found.setdefault(str(live["boot_nonce"]), int(live["epoch"]))
    return list(found.values())


def _open(rig: Rig) -> dict[str, object]:
    """The swap under way."""
    value = rig.client.status()["open"]
    return value if isinstance(value, dict) else {}


def head_and_cover(rig: Rig) -> tuple[int, int]:
    """Rows in the promoter's ledger, and how many of them its newest checkpoint covers."""
    with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
        return ledger.head()[0], checkpoint_of(rig.home / "checkpoints")


def test_every_start_has_an_epoch_above_all_before_it(rig: Rig) -> None:
    rig.install()
    with Traffic(rig, clients=2):
        assert rig.finish(rig.promote("good")).state == "committed"
        assert rig.finish(rig.client.rollback("otto", "drill")).state == "rolled_back"
    epochs = starts(rig)
    assert len(epochs) == 3
    assert epochs == sorted(set(epochs))


def test_turns_in_flight_end_before_the_old_instance_does(rig: Rig) -> None:
    rig.install("abrupt")
    with Traffic(rig, clients=3, pause=0.0) as traffic:
        assert rig.finish(rig.promote("good")).state == "committed"
    old = rig.home / "promote" / "state" / "gen-1" / "data"
    assert list(old.glob("begun-*")) == []
    assert traffic.lost_or_doubled() == []


@pytest.mark.parametrize("reason", ["", "enough of it"])
def test_a_swap_waits_for_an_edge_that_dies_behind_its_shut_gate(rig: Rig, reason: str) -> None:
    """Until it is back, or a person calls the swap off."""
    rig.install("dawdles")
    with Traffic(rig, clients=3, again=True) as traffic:
        swap = rig.promote("good")
        until(lambda: _open(rig).get("state") == "DRAIN", 60.0)
        assert rig.edge_process is not None
        rig.edge_process.kill()
        rig.edge_process.wait()
        until(lambda: "the edge is away" in str(rig.client.status()["problem"]), 60.0)
        if reason:
            rig.client.rollback("otto", reason, swap)
        time.sleep(1.0)
        assert _open(rig)["swap"] == swap
        assert bool(_open(rig)["rollback"]) == bool(reason)
        rig.start_edge()
        record = rig.finish(swap)
        until(lambda: not rig.edge.status().held, 60.0)
    assert (record.state, reason in record.reason) == ("rolled_back" if reason else "committed", True)
    assert traffic.lost_or_doubled() == []


def test_the_last_known_good_is_the_old_image_until_the_commit(rig: Rig) -> None:
    rig.install()
    swap = rig.promote("good", bake_seconds=60.0)
    until(lambda: (rig.client.status()["open"] or {}).get("state") == "BAKE", 60.0)  # type: ignore[attr-defined]
    assert rig.live_image() == rig.images.digest("base")
    rig.client.rollback("otto", "seen enough")
    assert rig.finish(swap).state == "rolled_back"


def test_no_request_reaches_the_new_image_before_its_release_is_recorded(rig: Rig) -> None:
    rig.install()
    result = Trial(rig, Plan(FORWARD, ("RELEASED.before",))).run()
    assert result.hit == ["RELEASED.before"]
    assert (result.state, result.problems) == ("rolled_back", [])


@pytest.mark.parametrize(("point", "state"), [("BAKE.begun", "rolled_back"), ("PREFLIGHT.intent", "closed")])
def test_what_was_interrupted_three_times_is_not_tried_again(rig: Rig, point: str, state: str) -> None:
    """No start is spared, and after the third nothing is left to be killed at."""
    rig.install()
    result = Trial(rig, Plan(FORWARD, (point,) * 6)).run()
    assert len(result.hit) == 3
    assert (result.state, result.problems) == (state, [])


@pytest.mark.parametrize("point", ["RB_START.effect", "RB_PROBE.intent"])
def test_an_old_instance_that_is_killed_on_the_way_back_is_started_again(rig: Rig, point: str) -> None:
    rig.install()
    result = Trial(rig, Plan(BROKEN, strikes=(("agent", point),))).run()
    assert (result.state, result.problems) == ("rolled_back", [])
    epochs = starts(rig)
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize(
    ("kind", "point", "state"),
    [(FORWARD, "HOLD.intent", "committed"), (BROKEN, "RB_HOLD.intent", "rolled_back")],
)
def test_while_the_edge_is_away_nothing_is_tried_and_no_attempt_is_spent(
    rig: Rig, kind: str, point: str, state: str
) -> None:
    """Longer than all attempts of a rollback would take; then the swap goes on from where it stood."""

    def lose_edge(rig: Rig) -> Mend:
        mend = kill_edge(rig)

        def come_back_late() -> None:
            time.sleep(8)
            mend()

        return come_back_late

    rig.install()
    plan = Plan(kind, strikes=(("edge", point),))
    result = Trial(rig, plan, victims={"edge": lose_edge}).run()
    assert (result.state, result.problems) == (state, [])


def test_a_swap_whose_envelope_is_gone_never_touches_production(rig: Rig) -> None:
    rig.install()
    rig.kill_promoter()
    rig.start_promoter(PROMOTE_KILL_AT="ACCEPTED.done:1")
    until(rig.client.status, 60.0)
    with Traffic(rig, clients=2) as traffic:
        with pytest.raises(Unreachable):
            rig.promote("good")
        (envelope,) = (rig.home / "promote" / "swaps").glob("*.intoto.jsonl")
        envelope.unlink()
        rig.kill_promoter()
        rig.start_promoter()
        until(rig.client.status, 60.0)
        record = rig.finish(envelope.name.split(".")[0])
    assert record.state == "closed"
    assert "provenance of swap" in record.reason
    assert {item.status for item in traffic.sent} == {200}


def test_the_checkpoint_covers_the_row_that_ended_the_swap(rig: Rig) -> None:
    rig.install()
    rig.kill_promoter()
    rig.start_promoter(PROMOTE_KILL_AT="TERMINAL.checkpoint:1")
    until(rig.client.status, 60.0)
    with Traffic(rig, clients=2):
        rig.promote("good")
        assert rig.promoter_process is not None
        assert rig.promoter_process.wait(60) == -9
    head, covered = head_and_cover(rig)
    assert head == covered


def test_a_checkpoint_that_a_kill_prevented_is_made_at_rest(rig: Rig) -> None:
    rig.install()
    assert Trial(rig, Plan(FORWARD, ("COMMITTED.done",))).run().problems == []
    until(lambda: len(set(head_and_cover(rig))) == 1, 60.0)
