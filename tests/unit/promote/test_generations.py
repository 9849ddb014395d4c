"""Generations and the journal: copies, owners, locks, epochs."""

import fcntl
import os
from pathlib import Path

import pytest

from evidence.ledger import Ledger
from promote.generations import GenerationBroken, Generations, size_of
from promote.journal import Journal, Overtaken
from promote.killpoints import KillPoints
from promote.records import Live, OpenSwap, Rollback


def nothing(_: str) -> None:
    return


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    made = Generations(tmp_path / "state")
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("content")
    made.create(1, source)
    return made


def test_a_clone_is_a_copy_that_lives_alone(generations: Generations) -> None:
    generations.clone(1, 2, nothing)
    (generations.data(2) / "deep" / "file").write_text("changed")
    assert (generations.data(1) / "deep" / "file").read_text() == "content"
    assert generations.present() == [1, 2]
    assert generations.next() == 3


def test_what_an_interrupted_clone_left_is_removed_first(generations: Generations) -> None:
    staging = generations.root / "gen-2.t"
    (staging / "data").mkdir(parents=True)
    (staging / "data" / "half").write_text("half")
    assert generations.present() == [1]
    generations.clone(1, 2, nothing)
    (generations.data(2) / "stale").write_text("from an attempt that failed")
    generations.clone(1, 2, nothing)
    assert sorted(path.name for path in generations.data(2).iterdir()) == ["deep"]
    assert not staging.exists()


def test_a_look_for_room_leaves_nothing_and_names_the_disk(generations: Generations) -> None:
    generations.writable()
    assert [path.name for path in generations.root.iterdir()] == ["gen-1"]
    with pytest.raises(OSError, match="the disk of the state can't be written: No such file"):
        Generations(generations.root / "gone").writable()


def test_creating_twice_is_creating_once(generations: Generations) -> None:
    (generations.data(1) / "kept").write_text("x")
    generations.create(1, None)
    assert (generations.data(1) / "kept").exists()


def test_a_missing_source_leaves_nothing_that_looks_like_a_generation(generations: Generations) -> None:
    with pytest.raises(GenerationBroken):
        generations.clone(7, 8, nothing)
    assert [path.name for path in generations.root.iterdir()] == ["gen-1"]


def test_a_copy_is_no_generation_before_it_is_whole(generations: Generations) -> None:
    seen: list[tuple[str, list[int]]] = []
    generations.clone(1, 2, lambda name: seen.append((name, generations.present())))
    assert seen == [("copied", [1]), ("renamed", [1, 2])]


def test_the_lock_and_the_owner_lie_apart_from_the_state(generations: Generations) -> None:
    generations.own(1, 42)
    assert (generations.ctl(1) / ".owner").read_text() == "42"
    assert not generations.locked(1)
    holder = os.open(generations.ctl(1) / ".lock", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    assert generations.locked(1)
    os.close(holder)
    assert not generations.locked(1)
    assert not (generations.data(1) / ".lock").exists()


def test_old_generations_go_but_never_one_that_is_needed(generations: Generations) -> None:
    for number in range(2, 7):
        generations.clone(1, number, nothing)
    assert generations.collect({2}) == [1, 3]
    assert generations.present() == [2, 4, 5, 6]


def test_size_counts_blocks_on_disk(generations: Generations) -> None:
    with (generations.data(1) / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert 0 < size_of(generations.data(1)) < 1 << 20


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(Ledger(tmp_path / "ledger.db"), nothing)
    base = Live(digest="sha256:base", generation=1, epoch=1)
    opened = OpenSwap(
        swap="s1", kind="promotion", state="ACCEPTED", base=base, target="sha256:new", started="now"
    )
    with made.ledger.transaction() as txn:
        txn.set_pointer("open", opened.model_dump(mode="json"))
    return made


def test_a_step_writes_intent_before_the_deed_and_done_after(journal: Journal) -> None:
    seen: list[str] = []

    def deed(opened: OpenSwap) -> dict[str, object]:
        last = journal.ledger.entries()[-2]
        seen.append(f"{last.data['state']} {last.data['phase']} {opened.generation}")
        return {"held_ms": 5.0}

    opened = journal.step("CLONE", deed, generation=2)
    assert seen == ["CLONE intent 2"]
    assert (opened.state, opened.generation, opened.held_ms) == ("CLONE", 2, 5.0)
    assert journal.open() == opened


def test_a_step_that_fails_leaves_its_intent(journal: Journal) -> None:
    def deed(_: OpenSwap) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        journal.step("CLONE", deed)
    opened = journal.open()
    assert opened is not None
    assert opened.state == "CLONE"
    assert journal.ledger.entries()[-2].data["phase"] == "intent"


def test_a_rollback_asked_for_meanwhile_stops_the_next_step(journal: Journal) -> None:
    journal.note("X", "done", rolling_back=True, rollback=Rollback(reason="stop", who="otto"))
    with pytest.raises(Overtaken, match="stop"):
        journal.note("HOLD", "intent")
    opened = journal.open()
    assert opened is not None
    assert opened.rollback is not None


def test_epochs_only_rise(journal: Journal) -> None:
    assert [journal.raised_epoch() for _ in range(3)] == [1, 2, 3]
    assert Journal(journal.ledger, nothing).raised_epoch() == 4


def test_kill_points_are_silent_unless_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PROMOTE_KILL_AT", raising=False)
    monkeypatch.setenv("PROMOTE_POINTS", str(tmp_path / "points"))
    KillPoints().reach("HOLD.before")
    assert (tmp_path / "points").read_text() == "HOLD.before\n"
    pid = os.fork()
    if pid == 0:
        os.environ["PROMOTE_KILL_AT"] = "HOLD.before:2"
        points = KillPoints()
        points.reach("HOLD.before")
        points.reach("HOLD.before")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
