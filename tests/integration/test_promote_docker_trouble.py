"""Swaps while the Docker Engine, or somebody at its images, does what nobody asked for."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException
from docker_engine import NAME, OwnEngine, own_engine
from promote_rig import Images, Rig, rig_in, until
from promote_traffic import Traffic

from containers.docker_keep import KEEPS
from containers.runtime import RuntimeBroken
from evidence.ledger import Ledger
from promote.wire import Refused

pytestmark = pytest.mark.docker
HUNG_SECONDS = 2.0


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    with tempfile.TemporaryDirectory(prefix="dk-") as folder, own_engine(Path(folder)) as started:
        yield started


@pytest.fixture(scope="module")
def images(engine: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("images"), docker=engine.options)


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path, images) as made:
        made.install()
        yield made


@pytest.fixture
def client(engine: OwnEngine) -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.DockerClient(engine.host, timeout=60)) as made:
        yield made


def image_that_runs(client: docker.DockerClient) -> list[str]:
    return [one.attrs["Image"] for one in client.containers.list(filters={"label": "evolve.role=live"})]


def states(rig: Rig) -> list[object]:
    with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
        return [entry.data.get("state") for entry in ledger.entries()]


def when_at(rig: Rig, state: str, act: Callable[[], None]) -> threading.Thread:
    """`act` as soon as the journal comes to `state` from here on."""
    known = len(states(rig))

    def wait() -> None:
        until(lambda: state in states(rig)[known:], 60)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def require_sound(rig: Rig, client: docker.DockerClient, traffic: Traffic) -> None:
    """New or old and no third; one writer; nothing lost, nothing doubled."""
    live = until(lambda: rig.live_image() if not rig.edge.status().held else "", 60)
    until(lambda: image_that_runs(client) == [live], 60)
    assert {item.status for item in traffic.sent} == {200}
    assert traffic.lost_or_doubled() == []


def hang(engine: OwnEngine) -> None:
    assert engine.process is not None
    engine.process.send_signal(signal.SIGSTOP)
    time.sleep(HUNG_SECONDS)
    engine.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("state", ["HOLD", "START"])
def test_an_engine_that_hangs_in_the_middle_of_a_swap_costs_no_request(
    rig: Rig, engine: OwnEngine, client: docker.DockerClient, state: str
) -> None:
    with Traffic(rig, clients=3, pause=0.05) as traffic:
        striking = when_at(rig, state, lambda: hang(engine))
        record = rig.finish(rig.promote("good"), 90)
        striking.join()
        until(lambda: not rig.edge.status().held, 60)
    assert record.state in ("committed", "rolled_back", "closed")
    require_sound(rig, client, traffic)


def test_an_image_deleted_after_its_approval_is_not_started_and_may_be_built_again(
    rig: Rig, client: docker.DockerClient
) -> None:
    base, target = rig.live_image(), rig.images.digest("slow_boot")
    signed, bundle = rig.approve(target)
    client.images.remove(target, force=True)
    with pytest.raises(Refused, match="is not in this engine"):
        rig.client.submit(signed, bundle)
    assert rig.images.build_again("slow_boot") == target  # same bytes, same id: it is what was approved
    with Traffic(rig, clients=2, pause=0.05) as traffic:
        striking = when_at(rig, "HOLD", lambda: delete_with_all_that_keeps_it(client, target))
        record = rig.finish(rig.client.submit(signed, bundle))
        striking.join()
        assert (record.state, image_that_runs(client)) == ("rolled_back", [base])
        rig.images.build_again("slow_boot")
        record = rig.finish(rig.promote("slow_boot"))
        assert (record.state, image_that_runs(client)) == ("committed", [target])
    require_sound(rig, client, traffic)


def delete_with_all_that_keeps_it(client: docker.DockerClient, image: str) -> None:
    """The engine does not let go of an image while a container runs from it."""
    for container in client.containers.list(all=True, filters={"ancestor": image}):
        container.remove(force=True)
    client.images.remove(image, force=True)


def race(rig: Rig, client: docker.DockerClient, swaps: int) -> None:
    """Tags are moved to a bad image, what has none is pruned and the same trees are built anew, all the while."""
    bad = rig.images.digest("crash")
    ids = {kind: rig.images.digest(kind) for kind in ("base", "good")}
    over = threading.Event()
    dice = random.Random(5)

    def meddle() -> None:
        while not over.is_set():
            kind = dice.choice(sorted(ids))
            with contextlib.suppress(DockerException, RuntimeBroken):
                for tag in client.images.get(ids[kind]).tags:
                    client.api.tag(bad, *tag.rsplit(":", 1))
                rig.images.build_again(kind)  # takes its tag back
                client.images.prune({"dangling": True})

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        with Traffic(rig, clients=2, pause=0.05) as traffic:
            for _ in range(swaps):
                kind = "good" if rig.live_image() == ids["base"] else "base"
                record = rig.finish(rig.promote(kind))
                assert record.state in ("committed", "rolled_back", "closed"), record.reason
                assert image_that_runs(client) == [rig.live_image()]
                assert rig.live_image() in ids.values()
    finally:
        over.set()
        meddler.join()
    require_sound(rig, client, traffic)


def test_what_runs_is_what_was_approved_whatever_becomes_of_tags(
    rig: Rig, client: docker.DockerClient
) -> None:
    race(rig, client, 10)


@pytest.mark.soak
def test_what_runs_is_what_was_approved_through_two_hundred_races(
    rig: Rig, client: docker.DockerClient
) -> None:
    race(rig, client, int(os.environ.get("SOAK_RACES", "200")))


def test_a_promoter_without_an_engine_ends_with_one_line_and_one_with_it_brings_the_agent_back(
    rig: Rig, engine: OwnEngine
) -> None:
    rig.kill_promoter()
    engine.kill()
    rig.start_promoter()
    assert rig.promoter_process is not None
    assert rig.promoter_process.wait(30) == 5
    assert rig.tail().splitlines()[-1].startswith("promoter: no Docker Engine answers at ")
    engine.start()
    rig.start_promoter()
    assert until(lambda: rig.ask("echo hi", "s")[0] == 200, 60)


def prune_everything(engine: OwnEngine) -> None:
    """What an operator types when the disk is full."""
    argv = ["docker", "--host", engine.host, "system", "prune", "--all", "--force", "--volumes"]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)


def keepers(client: docker.DockerClient) -> set[str]:
    """The images that are kept, but for the one that all others are built on."""
    kept = {one.attrs["Image"] for one in client.containers.list(filters={"label": KEEPS})}
    return kept - {client.images.get(NAME).id}


@pytest.mark.soak
def test_a_prune_of_the_whole_engine_leaves_what_a_rollback_needs_and_nothing_for_ever(
    rig: Rig, engine: OwnEngine, client: docker.DockerClient
) -> None:
    base, good, other = (rig.images.digest(kind) for kind in ("base", "good", "slow_boot"))
    with Traffic(rig, clients=2, pause=0.05) as traffic:
        swap = rig.promote("good", bake_seconds=60.0)
        until(lambda: "BAKE" in states(rig), 60)
        prune_everything(engine)
        rig.client.rollback("otto", "seen enough", swap)
        assert rig.finish(swap).live_image == base
        rig.images.build_again("good")
        assert rig.finish(rig.promote("good")).state == "committed"
        until(lambda: keepers(client) == {base, good}, 60.0)
        engine.kill()
        engine.start()
        until(lambda: keepers(client) == {base, good}, 60)
        until(lambda: image_that_runs(client) == [good], 60)
        prune_everything(engine)
        assert rig.finish(rig.client.rollback("otto", "out of habit"), 90).live_image == base
        rig.images.build_again("slow_boot")
        assert rig.finish(rig.promote("slow_boot")).state == "committed"
        until(lambda: keepers(client) == {base, other}, 60.0)
    require_sound(rig, client, traffic)
