"""Records for looking: what the rows, blobs and ledgers say, and what does not fit together."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import col, update
from web_world import BASE, IMAGE, RIGHT, WRONG, World, add_running_run, make_home, make_world

from evidence.canonical import canonical_json, digest
from evidence.ledger import Ledger
from evolve import journal, views
from evolve.errors import Broken, NotFound
from evolve.story import candidate_story
from evolve.tables import CandidateRow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("views") / "home"))
    yield built
    built.close()


def test_runs_are_listed_newest_first_with_where_they_are(world: World) -> None:
    running = add_running_run(world)
    runs = views.list_runs(world.store.read)
    assert runs[0].id == running
    assert (runs[0].active, runs[0].stage) == (True, "locate")
    assert runs[0].seconds >= 40
    assert (runs[1].stage, runs[1].iteration, runs[1].verdict) == ("verdict", 1, "converged")
    assert views.list_runs(world.store.read, "no-such-batch") == ()


def test_a_watcher_gets_only_what_is_new(world: World) -> None:
    detail = views.get_run(world.store.read, world.run_id)
    assert len(detail.stages) == len(detail.events) == 10
    assert [stage.name for stage in detail.stages][:3] == ["baseline", "locate", "plan"]
    later = views.get_run(world.store.read, world.run_id, after_event=detail.events[7].id)
    assert later.events == detail.events[8:]
    assert views.get_run(world.store.read, world.run_id, max_events=3).events == detail.events[-3:]


def test_the_story_has_all_its_parts(world: World) -> None:
    story = candidate_story(world.settings, world.store, world.candidate_id)
    assert story.problems == ()
    assert story.failure is not None
    assert [turn.prelude for turn in story.failure.turns] == [True, False]
    assert story.failure.signals[0].kind == "rule"
    assert story.suspects[0].file == "harness/dispatch.py"
    assert (story.cost.seconds, story.run.seconds) == (5 * 7.5, 94), (
        "from plan to build; of its trial nobody told"
    )
    held_out = story.split("held_out")
    assert held_out is not None
    assert (held_out.passed_before, held_out.passed_after, held_out.changed("fixed")) == (0, 11, 11)
    assert held_out.cases[0].change == "still failing", "what is bad comes first"
    assert {check.name for check in story.checks} >= {"guard.paths", "review.new_diff"}
    told = " ".join(story.distrust)
    for word in (
        "Small sample",
        "margin of 12.5",
        "still fails",
        "live model",
        "regression cases were on offer",
    ):
        assert word in told


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": BASE}, "candidate: image"),
        ({"digest": "sha256:" + "0" * 64}, "candidate: hash"),
        ({"verdict": "regressed"}, "report: verdict"),
        ({"report_blob": "sha256:" + "0" * 64}, "report: blob"),
    ],
)
def test_a_row_that_does_not_fit_its_blobs_is_a_problem(
    world: World, change: dict[str, str], says: str
) -> None:
    with world.store.read() as session:
        before = session.get_one(CandidateRow, world.candidate_id).model_dump()
    _update(world, change)
    try:
        problems = candidate_story(world.settings, world.store, world.candidate_id).problems
    finally:
        _update(world, {name: before[name] for name in change})
    assert any(problem.startswith(says) for problem in problems), problems


def test_another_diff_than_the_approved_one_is_a_problem(world: World) -> None:
    with world.store.read() as session:
        before = session.get_one(CandidateRow, world.candidate_id).diff_blob
    _update(world, {"diff_blob": world.store.blobs.put(b"+ something harmless")})
    try:
        problems = candidate_story(world.settings, world.store, world.candidate_id).problems
    finally:
        _update(world, {"diff_blob": before})
    assert any("hash of the diff" in problem for problem in problems)


def test_dropped_trials_are_a_problem(world: World) -> None:
    with world.store.read() as session:
        before = session.get_one(CandidateRow, world.candidate_id).trials_blob
    assert before is not None
    fewer = world.store.blobs.put(canonical_json(json.loads(world.store.blobs.get(before))[1:]))
    _update(world, {"trials_blob": fewer})
    try:
        problems = candidate_story(world.settings, world.store, world.candidate_id).problems
    finally:
        _update(world, {"trials_blob": before})
    assert any("report: trials" in problem for problem in problems)


def test_trials_of_an_earlier_version_still_fit_their_report(world: World) -> None:
    """Their hash is over what was stored then, without the fields that came later."""
    with world.store.read() as session:
        row = session.get_one(CandidateRow, world.candidate_id)
    assert row.trials_blob is not None
    assert row.report_blob is not None
    trials = json.loads(world.store.blobs.get(row.trials_blob))
    older = [{name: value for name, value in trial.items() if name != "reply"} for trial in trials]
    report = json.loads(world.store.blobs.get(row.report_blob)) | {"trials_digest": digest(older)}
    put = world.store.blobs.put
    _update(world, {"trials_blob": put(canonical_json(older)), "report_blob": put(canonical_json(report))})
    try:
        story = candidate_story(world.settings, world.store, world.candidate_id)
    finally:
        _update(world, {"trials_blob": row.trials_blob, "report_blob": row.report_blob})
    assert story.problems == ()
    assert story.splits[0].cases[0].trials[0].reply == ""


def test_each_case_has_its_replays_with_what_was_answered(world: World) -> None:
    held_out = candidate_story(world.settings, world.store, world.candidate_id).split("held_out")
    assert held_out is not None
    fixed = next(case for case in held_out.cases if case.change == "fixed")
    assert [(trial.arm, trial.outcome, trial.reply) for trial in fixed.trials] == [
        ("baseline", "fail", WRONG),
        ("candidate", "pass", RIGHT),
    ]


def test_batches_and_their_evidence(world: World) -> None:
    batches = views.list_batches(world.store)
    assert {batch.state for batch in batches} == {"open", "ready"}
    view = views.get_batch(world.store, world.batch_id)
    assert view.splits == {"visible": 8, "held_out": 12, "regression": 24}
    assert len(view.evidence) == view.batch.evidence == 20


def test_swaps_are_told_step_by_step(world: World) -> None:
    swap = journal.get_swap(world.settings, "swap-1")
    assert (swap.state, swap.ended, swap.reason) == ("rolled_back", True, "probe 2 of 3 failed")
    assert [step.state for step in swap.steps][:3] == ["accepted", "preflight", "hold"]
    assert all(step.done for step in swap.steps)


def test_history_reads_both_ledgers_and_hides_their_bookkeeping(world: World) -> None:
    with Ledger(world.settings.home / "ledger.db") as ledger, ledger.transaction() as txn:
        txn.set_pointer("x", {"y": 1})
    kinds = {(entry.ledger, entry.kind) for entry in journal.history(world.settings)}
    assert kinds == {("product", "batch.sealed"), ("promoter", "swap")}
    everything = journal.history(world.settings, mechanical=True)
    assert "ledger.pointer" in {entry.kind for entry in everything}
    steps = [entry for entry in everything if entry.data.get("state") == "hold"]
    assert len(steps) == 2
    assert not {entry.hash for entry in steps} & {
        entry.hash for entry in journal.history(world.settings, steps=False)
    }
    assert len(journal.history(world.settings, limit=3)) == 3


def test_what_is_not_there_is_not_found(world: World) -> None:
    read = world.store.read
    for ask in (
        lambda: views.get_run(read, "x"),
        lambda: views.get_candidate(read, "x"),
        lambda: views.get_batch(world.store, "x"),
        lambda: journal.get_swap(world.settings, "x"),
    ):
        with pytest.raises(NotFound):
            ask()


def test_a_broken_ledger_says_so(tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    assert journal.history(settings) == ()
    (tmp_path / "home" / "ledger.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Broken, match=r"ledger\.db"):
        journal.history(settings)


def test_candidates_by_state(world: World) -> None:
    assert [c.image for c in views.list_candidates(world.store.read, state="ready")] == [IMAGE]
    assert views.list_candidates(world.store.read, state="declined") == ()


def _update(world: World, change: dict[str, object]) -> None:
    with world.store.write() as session:
        session.exec(update(CandidateRow).where(col(CandidateRow.id) == world.candidate_id).values(**change))
