"""Whole swaps with real parts: edge, promoter and sandboxed instances under continuous traffic."""

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from promote_rig import Images, Rig, rig_in, until
from promote_root import fork
from promote_traffic import Traffic

from evidence.canonical import new_id, utcnow
from evidence.ledger import Ledger
from promote.keys import machine_key, sign
from promote.wire import Refused


@pytest.fixture(scope="module")
def shared(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One installation for tests that leave the base image live."""
    with rig_in(tmp_path_factory.mktemp("shared"), images) as rig:
        rig.install()
        yield rig


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path, images) as made:
        made.install()
        yield made


def one_writer(rig: Rig) -> list[tuple[str, str]]:
    found = rig.runtime.find({"evolve.service": rig.service})
    return [(i.digest, i.labels["evolve.role"]) for i in found if i.status().running]


def test_good_images_are_committed_one_after_the_other_and_no_request_is_lost(rig: Rig) -> None:
    with Traffic(rig) as traffic:
        for kind in ("good", "slow_boot", "base"):
            record = rig.finish(rig.promote(kind))
            assert (record.state, record.live_image) == ("committed", rig.images.digest(kind)), record.reason
            assert one_writer(rig) == [(rig.images.digest(kind), "live")]
            assert record.held_ms > 0
    assert {item.status for item in traffic.sent} == {200}
    assert traffic.lost_or_doubled() == []
    with Ledger(rig.home / "promote" / "ledger.db") as ledger:
        key = machine_key(rig.home / "keys" / "ledger.pem").public_key()
        found = ledger.verify(rig.home / "checkpoints", key)
        assert found.ok, found.problems
        assert found.notes == ()


def test_a_state_that_the_old_image_could_not_read_is_refused_before_production_is_touched(
    shared: Rig,
) -> None:
    schema: dict[str, object] = {"schema_reads": (1, 2), "schema_writes": 2}
    with pytest.raises(Refused, match="2 approvers"):
        shared.promote("lossy", **schema)
    with pytest.raises(Refused, match="state schema is not the one"):
        shared.promote("lossy")
    for changes in ({"rollback_class": "forward_compatible"}, {}):
        record = shared.finish(shared.promote("lossy", both=True, **schema, **changes))
        assert record.state == "closed"
        assert "in two steps (expand, then contract), or let two people approve it as lossy" in record.reason
    record = shared.finish(shared.promote("newer", both=True, **schema))
    assert record.state == "closed"
    assert "forward_compatible, but same was approved" in record.reason
    assert shared.ask("echo hi", "s")[0] == 200


def test_bad_approvals_are_rejected_with_the_reason(shared: Rig) -> None:
    good, base = shared.images.digest("good"), shared.live_image()
    now = utcnow()
    cases: list[tuple[str, dict[str, object]]] = [
        ("diff.patch: not the bytes", {"diff_sha256": "sha256:" + "0" * 64}),
        ("report.json: not the bytes", {"report_digest": "sha256:" + "0" * 64}),
        ("expired", {"expires": (now - timedelta(minutes=6)).isoformat()}),
        ("longer than 24 hours", {"expires": (now + timedelta(hours=25)).isoformat()}),
        ("may not approve", {"requester": "paula"}),
        ("solo is not permitted", {"policy": "solo"}),
        ("not registered", {"approver": "mallory"}),
        ("1 of 2 approvers have signed: a rollback would lose writes", {"rollback_class": "lossy"}),
        ("there is none", {"replays_inbox": True}),
        ("bake is shorter", {"bake_seconds": 0.1}),
        ("bake is shorter", {"bake_turns": 4}),
        ("another build of the promoter", {"promoter_digest": "sha256:" + "0" * 64}),
        ("commit", {"source_commit": "d" * 40}),
    ]
    for why, changes in cases:
        with pytest.raises(Refused, match=why):
            shared.promote("good", **changes)
    with pytest.raises(Refused, match="no longer live"):
        shared.promote("refuses", base=good)
    signed, bundle = shared.approve("sha256:" + "1" * 64)
    with pytest.raises(Refused, match="no image"):
        shared.client.submit(signed, bundle)
    signed, bundle = shared.approve(good)
    with pytest.raises(Refused, match="signature"):
        shared.client.submit(sign(signed.approval, Ed25519PrivateKey.generate()), bundle)
    forged = signed.model_copy(update={"approval": signed.approval.model_copy(update={"bake_turns": 9})})
    with pytest.raises(Refused, match="signature"):
        shared.client.submit(forged, bundle)
    assert shared.live_image() == base
    assert shared.client.status()["open"] is None


def test_the_promoter_asks_anew_who_may_approve(shared: Rig) -> None:
    """Its configuration was changed while it runs; one that can't be read approves nobody."""
    path = shared.home / "promoter.json"
    kept = path.read_text()
    told = json.loads(kept)
    told["people"][0]["roles"] = ["operator"]
    try:
        for text, why in (
            (json.dumps(told), "paula may not approve"),
            (json.dumps({**json.loads(kept), "approvers_needed": 2}), "1 of 2 approvers have signed"),
            (json.dumps({**json.loads(kept), "people": []}), "not registered"),
            ("{", "promoter.json"),
        ):
            path.write_text(text)
            with pytest.raises(Refused, match=why):
                shared.promote("good")
    finally:
        path.write_text(kept)
    assert shared.client.status()["open"] is None


def test_an_approval_is_used_once_and_dies_with_its_base(rig: Rig) -> None:
    base, good = rig.images.digest("base"), rig.images.digest("good")
    first, first_bundle = rig.approve(good)
    second, second_bundle = rig.approve(rig.images.digest("slow_boot"))
    with Traffic(rig, clients=2):
        record = rig.finish(rig.client.submit(first, first_bundle))
        assert record.state == "committed"
        with pytest.raises(Refused, match="used before"):
            rig.client.submit(first, first_bundle)
        with pytest.raises(Refused, match="no longer live"):
            rig.client.submit(second, second_bundle)
        back = rig.finish(rig.client.rollback("otto", "changed our mind"))
        assert (back.state, back.live_image, back.kind) == ("rolled_back", base, "rollback")
        with pytest.raises(Refused, match="used before"):
            rig.client.submit(first, first_bundle)
    assert one_writer(rig) == [(base, "live")]


def test_a_rollback_after_commit_keeps_every_turn_and_is_probed(rig: Rig) -> None:
    with Traffic(rig) as traffic:
        rig.finish(rig.promote("good"))
        record = rig.finish(rig.client.rollback("otto", "users complain"))
        assert record.state == "rolled_back"
        assert record.who == "otto"
    assert traffic.lost_or_doubled() == []
    rows = [entry for entry in rig.client.watch(0) if entry["kind"] == "swap"]
    states = [row["data"]["state"] for row in rows if row["data"]["swap"] == record.swap]  # type: ignore[index]
    assert states[-3:] == ["RB_PROBE", "RB_PROBE", "ROLLED_BACK"]
    with pytest.raises(Refused, match="no previous"):
        rig.client.rollback("otto", "again")


def test_a_person_can_call_off_a_bake(rig: Rig) -> None:
    swap = rig.promote("good", bake_seconds=60.0)
    rig.ask("echo hi", "s1")
    until(lambda: (rig.client.status()["open"] or {}).get("state") == "BAKE", 60.0)  # type: ignore[attr-defined]
    assert rig.client.rollback("otto", "not now") == swap
    record = rig.finish(swap)
    assert (record.state, record.reason, record.live_image) == (
        "rolled_back",
        "not now",
        rig.images.digest("base"),
    )


def test_a_dead_agent_is_started_again_under_a_new_epoch(rig: Rig) -> None:
    assert rig.ask("remember the moon", "s1")[0] == 200
    before = rig.edge.status().target
    assert before is not None
    (live,) = rig.runtime.find({"evolve.service": rig.service})
    rig.runtime.kill(live)
    status, reply = rig.ask("recall", "s1")
    assert status == 200
    assert "the moon" in str(reply)
    after = rig.edge.status().target
    assert after is not None
    assert after.epoch > before.epoch


def test_stop_ends_the_agent_and_start_brings_it_back(rig: Rig) -> None:
    rig.ask("remember the sun", "s1")
    rig.client.shutdown(stop_agent=True, who="otto", reason="maintenance")
    assert rig.promoter_process is not None
    assert rig.promoter_process.wait(20) == 0
    assert one_writer(rig) == []
    assert rig.edge.status().held
    rig.start_promoter()
    status, reply = rig.ask("recall", "s1")
    assert status == 200
    assert "the sun" in str(reply)


def rivals(rig: Rig, rounds: int) -> None:
    """Eight promoters begin at once, again and again: one acts and the others say so."""
    rig.kill_promoter()
    config, log = rig.home / "promoter.json", rig.home / "promoter.log"
    for _ in range(rounds):
        eight = [fork(config, log, 0, {}) for _ in range(8)]
        try:
            until(lambda eight=eight: sum(one.is_alive() for one in eight) == 1, 60.0)  # type: ignore[misc]
            (acting,) = (one for one in eight if one.is_alive())
            assert [one.exitcode for one in eight if one is not acting] == [4] * 7
            until(lambda acting=acting: rig.client.status()["pid"] == acting.pid, 60.0)  # type: ignore[misc]
            assert len(one_writer(rig)) == 1
            assert rig.ask("echo hi", "s")[0] == 200
        finally:
            for one in eight:
                one.kill()
                one.join()
    assert "another promoter acts" in rig.tail()


def test_of_eight_promoters_one_acts(rig: Rig) -> None:
    rivals(rig, 5)


@pytest.mark.soak
def test_of_eight_promoters_one_acts_a_hundred_times(rig: Rig) -> None:
    rivals(rig, int(os.environ.get("SOAK_RIVALS", "100")))


def test_a_promotion_waits_for_no_promoter_and_requests_wait_for_no_promoter(rig: Rig) -> None:
    rig.kill_promoter()
    assert rig.ask("echo hi", "s1")[0] == 200
    rig.start_promoter()
    until(rig.client.status, 60.0)
    assert len(one_writer(rig)) == 1
    assert rig.ask("echo hi", "s1", new_id())[0] == 200


def test_too_little_disk_closes_the_swap(images: Images, tmp_path: Path) -> None:
    with rig_in(tmp_path, images) as rig:
        rig.install()
        rig.kill_promoter()
        config = (rig.home / "promoter.json").read_text()
        huge = config.replace('"spare_bytes": 1048576', '"spare_bytes": 1152921504606846976')
        assert huge != config
        rig.write_configs = lambda: (rig.home / "promoter.json").write_text(huge)  # type: ignore[method-assign]
        rig.start_promoter()
        until(rig.client.status, 60.0)
        with Traffic(rig, clients=2):
            record = rig.finish(rig.promote("good"))
        assert record.state == "closed"
        assert "disk" in record.reason
        assert rig.ask("echo hi", "s1")[0] == 200


def test_without_turns_health_is_not_shown(images: Images, tmp_path: Path) -> None:
    with rig_in(tmp_path, images, timing={"bake_limit_seconds": 10.0}) as rig:
        rig.install()
        started = time.monotonic()
        record = rig.finish(rig.promote("good"))
        assert record.state == "rolled_back"
        assert "health was not shown" in record.reason
        assert time.monotonic() - started > 10.0
        until(lambda: not rig.edge.status().held, 60.0)
