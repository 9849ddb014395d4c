"""One guard of the promoter a test, quick enough to be tried against every seeded bug in `mutants/`."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from promote_rig import Images, Rig, make_approval, rig_in, until
from promote_traffic import Traffic
from promote_trial import BROKEN, FORWARD, Overlap, Plan, Trial

from containers.runtime import Limits
from evidence.canonical import canonical_json, digest, new_id
from evidence.ledger import Ledger
from promote.accept import Intake, Rejected
from promote.approval import RollbackClass, SignedApproval
from promote.attest import AttestationRefused, Attestor
from promote.bundle import BundleRefused
from promote.generations import Generations
from promote.journal import Journal
from promote.keys import public_text, sign, sign_as
from promote.live import FenceFailed, Instances, Surroundings
from promote.policy import ConsentPolicy, ConsentRefused, Person
from promote.preflight import PreflightFailed, check, copied
from promote.probe import ProbeFailed, _check_identity, beats
from promote.records import Live, Previous
from promote.settings import Timing


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    """Files, keys and an engine; its processes are started by the tests that need them."""
    with rig_in(tmp_path / "rig", images, bake_seconds=0.3, bake_turns=6) as made:
        yield made


class Desk:
    """The intake at work on a ledger of its own, with `base` live."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        generations = Generations(rig.home / "state")
        generations.create(1, None)
        around = Surroundings(rig.service, rig.home / "run", rig.home / "logs", None, {})
        self.instances = Instances(rig.runtime, generations, around)
        self.ledger = Ledger(rig.home / "ledger.db")
        journal = Journal(self.ledger, lambda _: None)
        people = (
            Person(name="paula", public_key=public_text(rig.key.public_key())),
            Person(name="quinn", public_key=public_text(rig.second.public_key())),
        )
        self.policy = ConsentPolicy(people, False, False, "sha256:" + "e" * 64, 0.3, 5)
        attestor = Attestor(rig.home / "swaps", rig.second, rig.runtime.name)
        self.intake = Intake(journal, self.instances, lambda: self.policy, rig.home / "held", attestor)
        self.rest("base")

    def rest(self, kind: str) -> None:
        """No swap is open and this image is live."""
        live = Live(digest=self.rig.images.digest(kind), generation=1, epoch=1)
        with self.ledger.transaction() as txn:
            txn.set_pointer("open", None)
            txn.set_pointer("lkg", live.model_dump(mode="json"))

    def approved(
        self, kind: str = "good", base: str = "base", **changes: object
    ) -> tuple[SignedApproval, Path]:
        folder = self.rig.home / new_id()
        image = self.rig.images.digest
        whose = {"promoter_digest": "sha256:" + "e" * 64, **changes}
        return sign(make_approval(folder, image(kind), image(base), 0.3, 5, whose), self.rig.key), folder


@pytest.fixture
def desk(rig: Rig) -> Iterator[Desk]:
    made = Desk(rig)
    yield made
    made.ledger.close()


def test_an_approval_is_accepted_once(desk: Desk) -> None:
    signed, bundle = desk.approved()
    desk.intake.submit(signed, bundle)
    desk.rest("base")
    with pytest.raises(Rejected, match="used before"):
        desk.intake.submit(signed, bundle)


def test_an_approval_posted_by_sixteen_at_once_opens_one_swap(desk: Desk) -> None:
    signed, bundle = desk.approved()
    answers: list[str] = []

    def post() -> None:
        for _ in range(3):
            try:
                answers.append(desk.intake.submit(signed, bundle).swap)
            except Rejected:
                answers.append("")

    threads = [threading.Thread(target=post) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([swap for swap in answers if swap]) == 1
    accepted = [entry for entry in desk.ledger.entries() if entry.data.get("state") == "ACCEPTED"]
    assert len(accepted) == 1


def test_an_approval_on_another_base_is_rejected_at_accept_and_at_start(desk: Desk) -> None:
    signed, bundle = desk.approved(base="slow_boot")
    with pytest.raises(Rejected, match="no longer live"):
        desk.intake.submit(signed, bundle)
    opened = desk.intake.submit(*desk.approved())
    desk.rest("slow_boot")
    with pytest.raises(ConsentRefused, match="no longer live"):
        desk.intake.recheck(opened)


def test_bytes_that_changed_after_accept_are_found_at_start(desk: Desk) -> None:
    opened = desk.intake.submit(*desk.approved())
    desk.intake.recheck(opened)
    (folder,) = (desk.rig.home / "held").iterdir()
    (folder / "diff.patch").write_bytes(b"something else")
    with pytest.raises(BundleRefused, match=r"diff\.patch"):
        desk.intake.recheck(opened)


def test_without_the_envelope_of_this_very_swap_nothing_starts(desk: Desk) -> None:
    opened = desk.intake.submit(*desk.approved())
    desk.intake.recheck(opened)
    (envelope,) = (desk.rig.home / "swaps").iterdir()
    good = envelope.read_bytes()
    (row,) = [entry for entry in desk.ledger.entries() if entry.data.get("state") == "ACCEPTED"]
    assert row.data["provenance"] == digest(good)
    desk.rest("base")
    other = desk.intake.submit(*desk.approved("slow_boot"))
    foreign = (desk.rig.home / "swaps" / f"{other.swap}.intoto.jsonl").read_bytes()
    for bad in (None, good.replace(b'"sig":"', b'"sig":"AAAA'), foreign):
        envelope.unlink()
        if bad is not None:
            envelope.write_bytes(bad)
        with pytest.raises(AttestationRefused, match=opened.swap):
            desk.intake.recheck(opened)
        envelope.touch()


def test_a_refused_approval_has_no_envelope(desk: Desk) -> None:
    for spoilt in ({"requester": "paula"}, {"base": "slow_boot"}):
        with pytest.raises(Rejected):
            desk.intake.submit(*desk.approved(**spoilt))  # type: ignore[arg-type]
    assert not (desk.rig.home / "swaps").exists()


def test_one_swap_is_open_at_a_time(desk: Desk) -> None:
    desk.intake.submit(*desk.approved())
    with pytest.raises(Rejected, match="another swap is open"):
        desk.intake.submit(*desk.approved("slow_boot"))


def test_a_rejection_is_written_down_and_spends_nothing(desk: Desk) -> None:
    signed, bundle = desk.approved(requester="paula")
    with pytest.raises(Rejected, match="may not approve"):
        desk.intake.submit(signed, bundle)
    last = desk.ledger.entries()[-1]
    assert last.data["state"] == "REJECTED"
    assert "may not approve" in last.reason
    assert not desk.ledger.used("approval", signed.approval.nonce)


def test_what_two_must_sign_is_read_from_the_bytes_that_are_held(desk: Desk) -> None:
    """Whatever else says how many are needed: the capability difference in the bundle, the schemas in the images."""
    signed, bundle = desk.approved()
    grown = canonical_json({"added": ["network:ssl"], "removed": []})
    (bundle / "capability_diff.json").write_bytes(grown)
    approval = signed.approval.model_copy(update={"capability_diff_sha256": digest(grown)})
    schema: dict[str, object] = {"schema_reads": (1, 2), "schema_writes": 2}
    other, other_bundle = desk.approved("newer", rollback_class="same", **schema)
    for which, folder, why in (
        (approval, bundle, "it gains capabilities"),
        (other.approval, other_bundle, "it changes the state schema"),
    ):
        one = sign(which, desk.rig.key)
        with pytest.raises(Rejected, match=f"1 of 2 approvers have signed: {why}"):
            desk.intake.submit(one, folder)
        twice = sign_as("paula", which, desk.rig.key, one)
        with pytest.raises(Rejected, match="1 of 2"):
            desk.intake.submit(twice, folder)
        opened = desk.intake.submit(sign_as("quinn", which, desk.rig.second, one), folder)
        assert opened.approval == which.digest
        desk.rest("base")


def test_what_an_image_newly_reaches_for_is_read_from_the_image_itself(desk: Desk) -> None:
    signed, bundle = desk.approved("reaches")
    with pytest.raises(Rejected, match="the image also gained network:ssl"):
        desk.intake.submit(signed, bundle)
    shown = canonical_json({"added": ["network:ssl"], "removed": []})
    (bundle / "capability_diff.json").write_bytes(shown)
    told = sign(signed.approval.model_copy(update={"capability_diff_sha256": digest(shown)}), desk.rig.key)
    with pytest.raises(Rejected, match="1 of 2 approvers have signed: it gains capabilities"):
        desk.intake.submit(told, bundle)
    desk.intake.submit(sign_as("quinn", told.approval, desk.rig.second, told), bundle)


def test_a_rollback_of_another_swap_than_the_last_one_is_refused(desk: Desk) -> None:
    opened = desk.intake.submit(*desk.approved())
    with pytest.raises(
        Rejected, match=f"swap elder is not the one that can be rolled back: that is swap {opened.swap}"
    ):
        desk.intake.ask_rollback("otto", "looked at it yesterday", "elder")
    desk.rest("good")
    previous = Previous(digest=desk.rig.images.digest("base"), generation=1, epoch=1, swap="last")
    with desk.ledger.transaction() as txn:
        txn.set_pointer("previous", previous.model_dump(mode="json"))
    with pytest.raises(Rejected, match="that is swap last"):
        desk.intake.ask_rollback("otto", "looked at it yesterday", opened.swap)
    assert desk.intake.ask_rollback("otto", "this very one", "last").base == previous.live


def test_who_loses_the_role_between_accept_and_start_has_not_approved(desk: Desk) -> None:
    opened = desk.intake.submit(*desk.approved())
    desk.intake.recheck(opened)
    paula, quinn = desk.policy.people
    demoted = paula.model_copy(update={"roles": ("operator",)})
    desk.policy = replace(desk.policy, people=(demoted, quinn))
    with pytest.raises(ConsentRefused, match="paula may not approve"):
        desk.intake.recheck(opened)
    desk.policy = replace(desk.policy, people=(paula, quinn), approvers_needed=2)
    with pytest.raises(ConsentRefused, match="1 of 2"):
        desk.intake.recheck(opened)


def test_starting_twice_is_starting_once(desk: Desk) -> None:
    live = Live(digest=desk.rig.images.digest("base"), generation=1, epoch=4, boot_nonce="n")
    first = desk.instances.start(live)
    second = desk.instances.start(live)
    assert first.name == second.name
    assert len(desk.instances.writers()) == 1
    desk.instances.fence(2.0, 10.0)
    assert desk.instances.writers() == []
    assert not desk.instances.generations.locked(1)


def test_an_instance_of_an_older_epoch_does_not_start(desk: Desk) -> None:
    digest = desk.rig.images.digest("base")
    old = desk.instances.start(Live(digest=digest, generation=1, epoch=4, boot_nonce="a"))
    desk.rig.runtime.kill(old)
    desk.instances.generations.own(1, 5)
    own = desk.instances.generations.own
    desk.instances.generations.own = lambda *_: None  # type: ignore[method-assign]
    try:
        late = desk.instances.start(Live(digest=digest, generation=1, epoch=4, boot_nonce="b"))
        assert late.wait(10) == 98
    finally:
        desk.instances.generations.own = own  # type: ignore[method-assign]


def test_a_second_writer_on_one_generation_does_not_start(desk: Desk) -> None:
    digest = desk.rig.images.digest("base")
    desk.instances.start(Live(digest=digest, generation=1, epoch=4, boot_nonce="a"))
    second = desk.instances.start(Live(digest=digest, generation=1, epoch=5, boot_nonce="b"))
    assert second.wait(10) == 97


def test_a_writer_that_nobody_lists_is_known_by_its_lock(desk: Desk) -> None:
    holder = os.open(desk.instances.generations.ctl(1) / ".lock", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with pytest.raises(FenceFailed, match=r"locked: \[1\]"):
            desk.instances.fence(0.1, 0.2)
    finally:
        os.close(holder)
    desk.instances.fence(0.1, 0.2)


@pytest.mark.parametrize("approved", ["same", "forward_compatible"])
def test_a_lossy_schema_is_refused_unless_it_was_approved_as_lossy(
    desk: Desk, approved: RollbackClass
) -> None:
    base = Live(digest=desk.rig.images.digest("base"), generation=1, epoch=1)
    migrated = desk.instances.generations.data(1)
    desk.instances.run_on(base.digest, ("python", "-m", "service", "--migrate"), migrated, 20)
    target = desk.rig.images.digest("lossy")
    scratch = desk.rig.home / "scratch"
    with copied(migrated, scratch) as snapshot, pytest.raises(PreflightFailed, match="two steps"):
        check(desk.instances, base, target, approved, snapshot, Timing())
    with copied(migrated, scratch) as snapshot:
        assert check(desk.instances, base, target, "lossy", snapshot, Timing()) == "lossy"


@pytest.mark.parametrize(("file_bytes", "ends"), [(2 << 20, 0), (1 << 20, 1)])
def test_a_state_that_outgrows_its_limit_is_seen_on_a_copy(
    rig: Rig, tmp_path: Path, file_bytes: int, ends: int
) -> None:
    limits = Limits(file_bytes=file_bytes)
    around = Surroundings(rig.service, rig.home / "run", rig.home / "logs", None, {}, limits)
    (tmp_path / "copy" / "data").mkdir(parents=True)
    grows = (
        "python",
        "-c",
        "open('/state/log', 'wb', buffering=0).write(bytes(2 << 20)) == 2 << 20 or exit(1)",
    )
    instances = Instances(rig.runtime, Generations(rig.home / "state"), around)
    found, said = instances.run_on(rig.images.digest("base"), grows, tmp_path / "copy" / "data", 30.0)
    assert found == ends, said


def _beat(run: Path, live: Live, stamp: float, **changes: object) -> None:
    identity = {
        "digest": live.digest,
        "epoch": live.epoch,
        "boot_nonce": live.boot_nonce,
        "child_alive": True,
    }
    (run / "heartbeat.json").write_text(json.dumps({**identity, "pid": 7, "ts": stamp, **changes}))


def test_a_heartbeat_that_stands_still_is_no_sign_of_life(tmp_path: Path) -> None:
    live = Live(digest="sha256:a", generation=1, epoch=3, boot_nonce="n")
    _beat(tmp_path, live, time.time())
    assert not beats(tmp_path, live)


@contextmanager
def _beating(run: Path, live: Live, late: float = 0.0, **changes: object) -> Iterator[None]:
    stop = threading.Event()

    def beat() -> None:
        stop.wait(late)
        while not stop.wait(0.01):
            (run / "new").mkdir(exist_ok=True)
            _beat(run / "new", live, time.time(), **changes)
            (run / "new" / "heartbeat.json").replace(run / "heartbeat.json")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_heartbeat_of_someone_else_is_no_sign_of_life(tmp_path: Path) -> None:
    live = Live(digest="sha256:a", generation=1, epoch=3, boot_nonce="n")

    def lives(number: int, changes: dict[str, object]) -> bool:
        run = tmp_path / str(number)
        run.mkdir()
        with _beating(run, live, **changes):
            return beats(run, live)

    others = [{"digest": "sha256:b"}, {"epoch": 2}, {"boot_nonce": "other"}, {"child_alive": False}]
    with ThreadPoolExecutor(len(others)) as pool:
        assert not any(pool.map(lives, range(len(others)), others))


def test_a_heartbeat_may_come_late_behind_one_of_an_earlier_start(tmp_path: Path) -> None:
    """A busy machine may have the service ready before its PID 1 has written."""
    live = Live(digest="sha256:a", generation=1, epoch=3, boot_nonce="n")
    _beat(tmp_path, live, time.time(), epoch=2, boot_nonce="earlier")
    with _beating(tmp_path, live, late=0.5):
        assert beats(tmp_path, live)


def test_readiness_that_names_someone_else_is_refused() -> None:
    live = Live(digest="sha256:a", generation=1, epoch=3, boot_nonce="n")
    _check_identity(b'{"ready": true, "digest": "sha256:a", "epoch": 3, "boot_nonce": "n"}', live)
    _check_identity(b'{"ready": true}', live)
    for said in ({"digest": "sha256:b"}, {"epoch": 2}, {"boot_nonce": "m"}):
        with pytest.raises(ProbeFailed):
            _check_identity(json.dumps(said).encode(), live)


def test_the_old_instance_is_gone_before_the_new_one_starts(rig: Rig) -> None:
    rig.install()
    with Traffic(rig, clients=2) as traffic, Overlap(rig) as overlap:
        record = rig.finish(rig.promote("good"))
    assert overlap.seen == ""
    assert record.state == "committed"
    assert traffic.lost_or_doubled() == []


def test_no_user_reaches_an_image_that_was_not_probed(rig: Rig) -> None:
    rig.install()
    with Traffic(rig, clients=2) as traffic:
        record = rig.finish(rig.promote(BROKEN))
    assert record.state == "rolled_back"
    assert {item.status for item in traffic.sent} == {200}
    states = [row["data"].get("state") for row in rig.client.watch(0)]  # type: ignore[attr-defined]
    assert "RELEASED" not in states


def test_a_candidate_does_not_choose_the_canaries_that_it_must_pass(rig: Rig) -> None:
    rig.install()
    with Traffic(rig, clients=2):
        record = rig.finish(rig.promote("lenient"))
    assert record.state == "rolled_back"
    assert "canary" in record.reason


def test_a_second_writer_does_not_survive_the_next_look(rig: Rig) -> None:
    rig.install()
    generations = Generations(rig.home / "promote" / "state")
    generations.clone(1, 9, lambda _: None)
    around = Surroundings(rig.service, rig.home / "stray", rig.home / "logs", None, {})
    instances = Instances(rig.runtime, generations, around)
    instances.start(Live(digest=rig.images.digest("base"), generation=9, epoch=99, boot_nonce="n"))
    until(lambda: [writer.labels["evolve.generation"] for writer in instances.writers()] == ["1"], 60.0)


def test_a_state_that_the_old_image_can_not_read_is_never_given_to_it(rig: Rig) -> None:
    rig.install()
    with Traffic(rig, clients=2, pause=0.03):
        assert rig.finish(rig.promote("outgrows")).state == "committed"
        record = rig.finish(rig.client.rollback("otto", "out of habit"))
    assert (record.state, record.live_image) == ("closed", rig.images.digest("outgrows"))
    assert "the old image can't open generation 2" in record.reason


def test_a_kill_right_after_the_commit_leaves_the_new_image_live(rig: Rig) -> None:
    rig.install()
    result = Trial(rig, Plan(FORWARD, ("COMMITTED.done",))).run()
    assert result.hit == ["COMMITTED.done"]
    assert result.problems == []


def test_a_rollback_to_an_image_that_is_no_longer_healthy_is_not_done(rig: Rig) -> None:
    rig.install("brittle")
    with Traffic(rig, clients=2, pause=0.03) as traffic:
        assert rig.finish(rig.promote("good")).state == "committed"
        Path(str(rig.client.status()["state_dir"]), "brittle").touch()
        record = rig.finish(rig.client.rollback("otto", "out of habit"))
    assert (record.state, record.live_image) == ("closed", rig.images.digest("good"))
    assert "not done" in record.reason
    assert {item.status for item in traffic.sent} == {200}
    assert traffic.lost_or_doubled() == []


def test_when_neither_image_is_healthy_the_gate_stays_shut_until_a_person_acts(rig: Rig) -> None:
    rig.install("brittle")
    swap = rig.promote(BROKEN)
    generation = rig.home / "promote" / "state" / "gen-1" / "data" / "brittle"
    generation.touch()
    record = rig.finish(swap)
    assert record.state == "quarantined"
    for _ in range(25):
        assert rig.edge.status().held
        time.sleep(0.1)
    generation.unlink()
    assert rig.client.rollback("otto", "repaired by hand") == swap
    end = time.monotonic() + 20
    while rig.edge.status().held and time.monotonic() < end:
        time.sleep(0.05)
    assert rig.ask("echo hi", "s")[0] == 200
    ends = rig.client.record(swap)
    assert ends is not None
    assert ends.state == "rolled_back"
