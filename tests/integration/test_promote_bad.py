"""Bad candidates of every kind: none is committed, and the old image answers again soon."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from promote_bad import BAD, Ending, report, try_bad
from promote_rig import Images, Rig, rig_in, until
from promote_traffic import Traffic

BEFORE, AFTER = "caught_before_release", "caught_after_release"
AIMS = {BEFORE: 20.0, AFTER: 30.0}
LIKE_OTHERS = {"crash", "refuses", "late_bad", "unhealthy", "wrong"}
"""The kill campaign plays three of these; the others end as `never_boots` and `forgets` do."""


@pytest.fixture(scope="module")
def shared(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_in(tmp_path_factory.mktemp("shared"), images) as rig:
        rig.install()
        yield rig


@pytest.fixture(scope="module")
def endings() -> Iterator[list[Ending]]:
    found: list[Ending] = []
    yield found
    print(json.dumps(report(found)))


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.soak) if kind in LIKE_OTHERS else kind for kind in BAD]
)
def test_a_bad_image_never_stays(shared: Rig, endings: list[Ending], kind: str) -> None:
    ending = try_bad(shared, kind)
    endings.append(ending)
    assert ending.problems == ()


@pytest.mark.soak
def test_none_of_five_hundred_bad_images_stays(images: Images, tmp_path: Path) -> None:
    dice = random.Random(int(os.environ.get("SOAK_SEED", "1")))
    size = int(os.environ.get("SOAK_BAD", "500"))
    kinds = [kind for _ in range(-(-size // len(BAD))) for kind in dice.sample(sorted(BAD), len(BAD))][:size]
    found: list[Ending] = []

    def work(number: int) -> None:
        with rig_in(tmp_path / str(number), images) as rig:
            rig.install()
            while kinds:
                found.append(try_bad(rig, kinds.pop()))

    workers = [Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    told = report(found)
    print(json.dumps(told))
    assert [problem for ending in found for problem in ending.problems] == []
    assert (told["candidates"], told["committed"]) == (size, 0)
    for name, aim in AIMS.items():
        spread = told[name]
        assert isinstance(spread, dict)
        assert spread["p99"] <= aim, told


def change(rig: Rig, steps: str) -> None:
    """`steps`: what is live, then what is promoted, one after the other; B is bad. Afterwards what runs is what the ledger
    calls the last known good, or a person has been called."""
    mark = Path(str(rig.client.status()["state_dir"]), "brittle")
    if steps[0] == "B":
        mark.touch()
    with Traffic(rig, clients=2, pause=0.03):
        for step in steps[1:]:
            before = rig.live_image()
            swap = rig.promote("refuses" if step == "B" else "good")
            record = rig.finish(swap)
            if step == "G":
                assert (record.state, record.live_image) == ("committed", rig.images.digest("good")), record
                continue
            if mark.exists():  # neither image is healthy: nobody guesses
                assert (record.state, rig.edge.status().held) == ("quarantined", True), record
                mark.unlink()
                rig.client.rollback("otto", "repaired by hand")
                until(lambda: rig.client.status()["open"] is None, 60.0)
                record = rig.finish(swap)
            assert (record.state, record.live_image) == ("rolled_back", before), record
        until(lambda: not rig.edge.status().held, 60.0)
        live = [i.digest for i in rig.runtime.find({"evolve.service": rig.service}) if i.status().running]
        assert live == [rig.live_image()]


CHANGES = ("GB", "BG", "BB", "BBG")


@pytest.mark.parametrize("steps", CHANGES)
def test_what_runs_after_good_and_bad_images_in_a_row_is_the_last_known_good(
    images: Images, tmp_path: Path, steps: str
) -> None:
    with rig_in(tmp_path / "rig", images) as rig:
        rig.install("brittle")
        change(rig, steps)


@pytest.mark.soak
def test_what_runs_after_many_changes_is_the_last_known_good(images: Images, tmp_path: Path) -> None:
    for number in range(int(os.environ.get("SOAK_CHANGES", "50"))):
        for steps in CHANGES:
            with rig_in(tmp_path / f"{steps}-{number}", images) as rig:
                rig.install("brittle")
                change(rig, steps)
