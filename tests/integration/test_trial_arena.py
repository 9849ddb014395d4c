"""The arena: order, retries for broken cases alone, early stop, separation, and nothing left behind."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from trial_support import build, case, grade, job, text_of, tiny_tree

from containers.bubblewrap import BubblewrapRuntime
from containers.engine import get_runtime
from containers.runtime import ImageMissing, ImageRef, RuntimeBroken
from containers.substrate import SubstrateManifest
from evidence.cases import RegressionCase
from trial.arena import Arena
from trial.plan import Job, TrialCase
from trial.replay import Replay
from trial.report import Grade


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("h")


@pytest.fixture(scope="module")
def runtime(home: Path) -> BubblewrapRuntime:
    return get_runtime("bubblewrap", home)


@pytest.fixture(scope="module")
def tiny(runtime: BubblewrapRuntime, home: Path) -> tuple[ImageRef, SubstrateManifest]:
    return build(runtime, tiny_tree(home / "tree"))


@pytest.fixture
def arena(
    runtime: BubblewrapRuntime, home: Path, tiny: tuple[ImageRef, SubstrateManifest]
) -> Iterator[Arena]:
    with Arena(runtime, tiny[1], workdir=home / "arena", workers=2) as made:
        yield made
    assert runtime.find({}) == []
    assert list((home / "arena").glob("*")) == []


def test_trials_come_in_order_with_their_reasons(
    arena: Arena, tiny: tuple[ImageRef, SubstrateManifest]
) -> None:
    texts = ["sleep 0.3", "echo b", "add x", "die 3", "echo e"]
    jobs = [
        job(case(text), tiny[0], arm, seed=i)
        for i, text in enumerate(texts)
        for arm in ("baseline", "candidate")
    ]
    progress: list[tuple[int, int]] = []
    flags = lambda one, replay: ("seen: " + one.id,)  # noqa: E731
    trials = list(
        arena.run(jobs, grade, flags=flags, progress=lambda done, all_: progress.append((done, all_)))
    )
    assert [(t.case_id, t.arm, t.seed) for t in trials] == [(j.case.id, j.arm, j.seed) for j in jobs]
    assert [t.outcome for t in trials] == ["pass"] * 4 + ["fail"] * 4 + ["pass"] * 2
    assert trials[4].reason == "answered: status 500"
    assert "no whole answer" in trials[6].reason
    assert trials[0].flags == ("seen: sleep 0.3",)
    assert trials[0].latency >= 0.3
    assert progress == [(i, 10) for i in range(1, 11)]


def test_only_broken_cases_are_tried_again(arena: Arena, tiny: tuple[ImageRef, SubstrateManifest]) -> None:
    asked: list[str] = []

    def shaky(one: TrialCase, replay: Replay) -> tuple[Grade, ...]:
        asked.append(one.id)
        if one.id == "echo once" and asked.count(one.id) == 1:
            raise RuntimeBroken("the grader's sandbox broke")
        if one.id == "echo never":
            raise RuntimeBroken("no luck")
        return () if one.id == "echo ungraded" else grade(one, replay)

    texts = ["echo a", "echo once", "echo never", "echo ungraded"]
    trials = list(arena.run([job(case(text), tiny[0]) for text in texts], shaky))
    assert [t.outcome for t in trials] == ["pass", "pass", "invalid", "invalid"]
    assert trials[2].reason == "no luck"
    assert trials[2].grades == ()
    assert sorted(asked) == sorted(["echo a", *["echo once"] * 2, *["echo never"] * 3, "echo ungraded"])


def test_stopping_early_kills_what_runs_and_the_arena_goes_on(
    arena: Arena, runtime: BubblewrapRuntime, tiny: tuple[ImageRef, SubstrateManifest]
) -> None:
    graded: list[str] = []

    def note(one: TrialCase, replay: Replay) -> tuple[Grade, ...]:
        graded.append(one.id)
        return grade(one, replay)

    jobs = [job(case("echo first"), tiny[0]), *(job(case(f"sleep 2{i}"), tiny[0]) for i in range(20))]
    trials = arena.run(jobs, note)
    assert next(trials).outcome == "pass"
    trials.close()  # type: ignore[attr-defined]
    assert graded == ["echo first"]
    assert [t.outcome for t in arena.run([job(case("echo again"), tiny[0])], grade)] == ["pass"]


def test_an_iterator_that_nobody_reads_holds_nothing_up(
    runtime: BubblewrapRuntime, home: Path, tiny: tuple[ImageRef, SubstrateManifest]
) -> None:
    with Arena(runtime, tiny[1], workdir=home / "forgotten", workers=1) as arena:
        trials = arena.run([job(case("echo a"), tiny[0]), job(case("sleep 25"), tiny[0])], grade)
        assert next(trials).outcome == "pass"
    assert runtime.find({}) == []
    assert next(trials).outcome == "invalid"


def test_arms_and_splits_share_no_sandbox(
    arena: Arena, runtime: BubblewrapRuntime, tiny: tuple[ImageRef, SubstrateManifest]
) -> None:
    regression = RegressionCase.model_validate(case("echo r").model_dump() | {"split": "regression"})
    jobs = [
        job(case("echo a"), tiny[0], "baseline"),
        job(case("echo b"), tiny[0], "candidate"),
        Job(regression, "candidate", tiny[0].digest, 0),
        job(case("echo d"), tiny[0], "candidate"),
    ]
    places: dict[tuple[str, str], set[str]] = {}
    lock = threading.Lock()

    def use(one: Job, replay: Replay) -> None:
        with lock:
            places.setdefault(one.shard, set()).add(str(replay.files))

    list(arena.play(jobs * 3, use))
    assert len(places) == 3
    assert sum(len(where) for where in places.values()) == len(set.union(*places.values()))


def test_a_worktree_takes_the_place_of_the_candidate_s_image(
    arena: Arena, home: Path, tiny: tuple[ImageRef, SubstrateManifest]
) -> None:
    tree = tiny_tree(home / "worktree", ("lambda text: text[::-1]", "lambda text: 'changed'"))
    jobs = [job(case("reverse abc"), tiny[0], arm) for arm in ("baseline", "candidate")]
    seen = [played.value for played in arena.play(jobs, lambda _, replay: text_of(replay), tree=tree)]
    assert seen == ["cba", "changed"]
    turns = tree / "service" / "turns.py"
    turns.write_text(turns.read_text().replace("'changed'", "'edited'"))
    again = [played.value for played in arena.play(jobs[1:], lambda _, replay: text_of(replay), tree=tree)]
    assert again == ["edited"], "a warm sandbox shows later edits"


def test_a_missing_image_is_said_at_once(arena: Arena, tiny: tuple[ImageRef, SubstrateManifest]) -> None:
    gone = ImageRef("sha256:" + "0" * 64)
    with pytest.raises(ImageMissing):
        list(arena.run([job(case("echo a"), gone), job(case("echo b"), tiny[0])], grade))


def test_a_deep_folder_is_no_obstacle(
    runtime: BubblewrapRuntime, tmp_path: Path, tiny: tuple[ImageRef, SubstrateManifest]
) -> None:
    before = _own_leftovers()
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with Arena(runtime, tiny[1], workdir=deep, workers=1) as arena:
        assert [t.outcome for t in arena.run([job(case("echo a"), tiny[0])], grade)] == ["pass"]
    assert _own_leftovers() == before


def _own_leftovers() -> set[str]:
    return {name for name in os.listdir("/tmp") if name.startswith("trial-") and _is_mine(Path("/tmp", name))}


def _is_mine(path: Path) -> bool:
    """Left by this process: newer than the test's own start would be racy, so look for our sockets."""
    return any(path.glob("*/gateway/gateway.sock"))
