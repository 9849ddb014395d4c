"""Swaps on a machine that fails: full disks, a ledger that can't be written, things in the way of a start, a clock that
jumps, an approval that is handed in a thousand times."""

import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

import pytest
from promote_rig import Images, Rig, require, rig_in, until
from promote_strikes import Mend, Victim
from promote_traffic import Traffic
from promote_trial import BROKEN, FORWARD, LATE, Plan, Trial

from containers.runtime import ImageRef, InstanceSpec
from evidence.ledger import Ledger
from promote.wire import Refused

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
BEFORE_AN_APPEND = (
    *((FORWARD, f"{state}.before") for state in ("HOLD", "FENCE", "RELEASED", "COMMITTED")),
    (BROKEN, "RB_FENCE.before"),
)
BEFORE_OTHERS = (
    *((FORWARD, f"{state}.before") for state in ("PREFLIGHT", "CLONE", "START", "PROBE")),
    *(
        (BROKEN, f"{state}.before")
        for state in ("RB_BEGIN", "RB_HOLD", "RB_START", "RB_PROBE", "ROLLED_BACK")
    ),
)

_BUSY = "a thread of the promoter stands still in the middle of reading the ledger"


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path / "rig", images, bake_seconds=0.3, bake_turns=6) as made:
        yield made


def journal(rig: Rig) -> list[dict[str, object]]:
    with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
        return [dict(entry.data) for entry in ledger.entries()]


def running(rig: Rig) -> list[str]:
    found = rig.runtime.find({"evolve.service": rig.service, "evolve.role": "live"})
    return sorted(instance.name for instance in found if instance.status().running)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own, in memory."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "evolve-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"a small file system needs root: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """To the last byte; the file to delete."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    return ballast


def full_disk(rig: Rig) -> Mend:
    with closing(sqlite3.connect(rig.home / "promote" / "ledger.db")) as db:
        # A row that overwrites an old log page needs no room.
        if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise BlockingIOError(_BUSY)
    return fill(rig.home / "promote").unlink


def failing_writes(rig: Rig) -> Mend:
    """The kernel refuses the promoter every byte that it writes into a file, as a broken or read-only disk does."""
    assert rig.promoter_process is not None
    pid = rig.promoter_process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


def unwritable(harm: Victim) -> Victim:
    """What may not be written down may not be done: whoever ran goes on."""

    def strike(rig: Rig) -> Mend:
        before, undo = running(rig), harm(rig)

        def mend() -> None:
            try:
                until(lambda: "ledger can't be written" in str(rig.client.status()["problem"]), 60.0)
                assert running(rig) == before, f"{before} became {running(rig)}, and no row says so"
            finally:
                undo()

        return mend

    return strike


@contextmanager
def ledger_on_a_disk_of_its_own(rig: Rig) -> Iterator[Path]:
    """State and sockets lie elsewhere."""
    home = rig.home / "promote"
    with small_disk(home, 24):
        for name in ("state", "run", "scratch", "logs"):
            (rig.home / "elsewhere" / name).mkdir(parents=True)
            (home / name).symlink_to(rig.home / "elsewhere" / name)
        try:
            yield home
        finally:
            rig.close()


@pytest.mark.parametrize(
    ("harm", "points"),
    [
        (full_disk, BEFORE_AN_APPEND),
        (failing_writes, BEFORE_AN_APPEND[:1]),
        pytest.param(full_disk, BEFORE_OTHERS, marks=pytest.mark.soak),
        pytest.param(failing_writes, BEFORE_AN_APPEND[1:] + BEFORE_OTHERS, marks=pytest.mark.soak),
    ],
)
def test_while_the_ledger_can_not_be_written_nobody_is_stopped_or_started(
    rig: Rig, harm: Victim, points: tuple[tuple[str, str], ...]
) -> None:
    """From when the promoter comes to write its next row."""
    with ledger_on_a_disk_of_its_own(rig):
        rig.install()
        for scenario, point in points:
            plan = Plan(scenario, strikes=(("ledger", point),))
            result = Trial(rig, plan, victims={"ledger": unwritable(harm)}).run()
            while any(_BUSY in problem for problem in result.problems):
                result = Trial(rig, plan, victims={"ledger": unwritable(harm)}).run()
            assert result.problems == []
            assert result.hit == [f"ledger@{point}"]


def test_a_promoter_that_starts_on_a_read_only_ledger_says_so_and_touches_nobody(rig: Rig) -> None:
    with ledger_on_a_disk_of_its_own(rig) as disk:
        rig.install()
        before = running(rig)
        rig.kill_promoter()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        rig.start_promoter()
        assert rig.promoter_process is not None
        assert rig.promoter_process.wait(60) == 5
        assert "Read-only" in rig.tail() or "readonly" in rig.tail(), rig.tail()
        assert (running(rig), rig.ask("echo still here", "s")[0]) == (before, 200)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        rig.start_promoter()
        until(rig.client.status, 60.0)
        assert (rig.client.status()["problem"], running(rig)) == ("", before)


@pytest.mark.parametrize("point", ["CLONE.intent", "CLONE.copied"])
def test_a_full_disk_in_the_middle_of_a_clone_costs_the_swap_and_nothing_else(rig: Rig, point: str) -> None:
    state = rig.home / "promote" / "state"

    def full(_: Rig) -> Mend:
        ballast = fill(state)

        def mend() -> None:
            try:
                until(lambda: "disk of the state" in str(rig.client.status()["problem"]), 60.0)
            finally:
                ballast.unlink()

        return mend

    with small_disk(state, 32):
        try:
            rig.install()
            result = Trial(rig, Plan(FORWARD, strikes=(("disk", point),)), victims={"disk": full}).run()
            assert (result.state, result.problems) == ("rolled_back", [])
            assert [path.name for path in state.glob("*.t")] == []
        finally:
            rig.close()


def file_for_a_folder(rig: Rig, epoch: int) -> None:
    (rig.home / "promote" / "run" / f"agent-{epoch}").write_text("in the way")


def taken_socket(rig: Rig, epoch: int) -> None:
    (rig.home / "promote" / "run" / f"agent-{epoch}" / "agent.sock" / "x").mkdir(parents=True)


def taken_name(rig: Rig, epoch: int) -> None:
    argv = ("python", "-c", "import time; time.sleep(300)")
    labels = {"evolve.service": rig.service, "evolve.role": "trial"}
    spec = InstanceSpec(
        name=f"{rig.service}-{epoch}", role="trial", argv=argv, labels=labels, survives_caller=True
    )
    rig.runtime.start(ImageRef(rig.images.digest("base")), spec)


@pytest.mark.parametrize("put", [file_for_a_folder, taken_socket, taken_name])
def test_what_is_in_the_way_of_a_start_costs_the_swap_and_nothing_else(
    rig: Rig, put: Callable[[Rig, int], None]
) -> None:
    def obstruct(_: Rig) -> Mend:
        with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
            epoch = ledger.pointer("epoch")
        assert epoch is not None
        put(rig, int(str(epoch["value"])) + 1)
        return lambda: None

    rig.install()
    result = Trial(rig, Plan(FORWARD, strikes=(("start", "CLONE.done"),)), victims={"start": obstruct}).run()
    assert (result.state, result.problems) == ("rolled_back", [])


def test_an_image_that_is_gone_at_the_start_costs_the_swap_and_nothing_else(tmp_path: Path) -> None:
    images = Images(tmp_path / "images")
    with rig_in(tmp_path / "rig", images, bake_seconds=0.3, bake_turns=6) as rig:
        rig.install()
        tree = images.home / "images" / images.digest("good").removeprefix("sha256:")

        def lose(_: Rig) -> Mend:
            shutil.move(tree, tmp_path / "lost")
            return lambda: None

        result = Trial(rig, Plan(FORWARD, strikes=(("image", "HOLD.done"),)), victims={"image": lose}).run()
        assert (result.state, result.problems) == ("rolled_back", [])


def test_an_approval_that_is_handed_in_a_thousand_times_is_one_swap(rig: Rig) -> None:
    rig.install()
    signed, bundle = rig.approve(rig.images.digest("good"))
    swaps, refusals = set[str](), list[str]()

    def post() -> None:
        for _ in range(63):
            try:
                swaps.add(rig.client.submit(signed, bundle))
            except Refused as error:
                refusals.append(str(error))

    clients = [Thread(target=post) for _ in range(16)]
    with Traffic(rig, clients=2, pause=0.1) as traffic:
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        (swap,) = swaps
        assert rig.finish(swap, 120.0).state == "committed"
    assert traffic.lost_or_doubled() == []
    assert len(refusals) == 16 * 63 - 1
    assert {why for why in refusals if "used before" not in why and "another swap" not in why} == set()
    assert sum(row.get("state") == "ACCEPTED" for row in journal(rig)) == 1


@pytest.fixture
def wall_clock(rig: Rig) -> Callable[[str], Victim]:
    """The promoter's wall clock, and its alone: makes it jump to so much from the true time."""
    require(FAKETIME is not None, "no libfaketime: as root, 'apt-get install libfaketime' lets clocks jump")
    setting = rig.home / "clock"
    setting.write_text("+0")
    rig.promoter_env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }

    def jump_to(offset: str) -> Victim:
        def jump(_: Rig) -> Mend:
            setting.write_text(offset)
            return lambda: None

        return jump

    return jump_to


@pytest.mark.parametrize(
    ("scenario", "state", "jumps"),
    [
        (
            FORWARD,
            "committed",
            (
                *(("day_on", "START.intent"), ("day_back", "PROBE.intent"), ("day_on", "RELEASED.before")),
                *(("day_back", "BAKE.begun"), ("day_on", "BAKE.judged"), ("day_back", "COMMITTED.done")),
            ),
        ),
        (
            BROKEN,
            "rolled_back",
            (
                *(("day_on", "HOLD.intent"), ("day_back", "DRAIN.intent"), ("day_on", "FENCE.intent")),
                *(("right", "CLONE.done"), ("day_on", "PROBE.intent"), ("day_back", "RB_HOLD.intent")),
                *(("day_on", "RB_DRAIN.intent"), ("day_back", "RB_FENCE.intent")),
                *(("day_on", "RB_START.intent"), ("day_back", "RB_PROBE.intent")),
            ),
        ),
        (LATE, "rolled_back", (("day_on", "BAKE.begun"), ("day_back", "RB_START.intent"))),
        (FORWARD, "rolled_back", (("day_on", "CLONE.intent"),)),
        (FORWARD, "rolled_back", (("day_back", "CLONE.intent"),)),
        (FORWARD, "closed", (("day_on", "PREFLIGHT.before"),)),
    ],
)
def test_a_wall_clock_that_jumps_decides_on_expiry_alone(
    rig: Rig,
    wall_clock: Callable[[str], Victim],
    scenario: str,
    state: str,
    jumps: tuple[tuple[str, str], ...],
) -> None:
    """By a day, in every state. The approval is for an hour: it is looked at in PREFLIGHT and just before START."""
    rig.install()
    victims = {"day_on": wall_clock("+1d"), "day_back": wall_clock("-1d"), "right": wall_clock("+0")}
    result = Trial(rig, Plan(scenario, strikes=jumps), victims=victims).run()
    assert sorted(result.hit) == sorted(f"{way}@{point}" for way, point in jumps)
    # A wrong clock also refuses the approvals that are handed in to be refused.
    assert (result.state, result.problems) == (state, [])
