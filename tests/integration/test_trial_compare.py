"""Whole comparisons on real images of the tiny substrate: what decides, what it costs, and what voids it."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from trial_batch import DEFECT, World, open_tiny

from evidence.canonical import digest
from trial import honeypot
from trial.progress import Progress

FIX = (DEFECT[1], DEFECT[0])
PHASES = ["visible", "held_out", "regression"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_tiny(tmp_path_factory.mktemp("h")) as made:
        yield made


def test_an_honest_fix_converges_and_early_stopping_saves_trials(world: World) -> None:
    seen: list[Progress] = []
    report, trials = world.compare(world.image(FIX), show=seen.append)
    assert report.verdict == "converged", report.reasons
    assert all(check.ok for check in report.checks), report.checks
    assert report.e_value >= report.e_threshold == pytest.approx(20)
    assert report.held_out_pairs == 7
    assert report.candidate["regression"].passed == report.baseline["regression"].passed == 30
    assert report.candidate["visible"].passed == 3
    assert report.baseline["visible"].passed == 0
    assert report.candidate["honeypot"].failed >= 2
    assert report.trials_run == len(trials) == report.trials_planned - report.trials_saved
    assert report.trials_saved == 2, "the eighth held-out pair is not needed"
    assert report.trials_digest == digest([trial.model_dump(mode="json") for trial in trials])
    assert report.batch_digest == world.batch.digest
    assert report.cannot_show, "30 regression cases do not carry 3 points"
    assert [one.split for one in seen] == sorted((one.split for one in seen), key=PHASES.index)
    assert (seen[0].done, seen[-1].done) == (0, report.trials_run)
    assert (seen[-1].planned, seen[-1].e_needed) == (report.trials_planned, report.e_threshold)
    assert seen[-1].e_value == report.e_value


def test_the_baseline_against_itself_needs_work_and_stops_at_once(world: World) -> None:
    report, _ = world.compare(world.baseline)
    assert report.verdict == "needs_work"
    assert report.trials_run <= 6


def test_a_fix_that_breaks_something_else_is_regressed(world: World) -> None:
    broken = ('"upper": str.upper', '"upper": str.lower')
    report, _ = world.compare(world.image(FIX, broken))
    assert report.verdict == "regressed"
    assert report.trials_saved > 20, "the first lost case decides"


def test_a_passed_honeypot_is_caught_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can guess a nonce; one that was leaked is what honeypots are there to notice."""
    monkeypatch.setattr(honeypot, "secrets", SimpleNamespace(token_hex=lambda n: "ab" * n))
    knows = ('"model": "tiny",', f'"model": "tiny", "note": "{"ab" * 16}",')
    report, _ = world.compare(world.image(FIX, knows))
    assert report.verdict == "cheated"
    assert report.reasons[0].startswith("honeypot: ")
    assert report.trials_saved > 0


def test_graders_that_changed_since_the_sealing_void_everything(world: World) -> None:
    file = world.home / "skills.py"
    kept = file.read_text()
    try:
        file.write_text(kept + "# one more line\n")
        report, trials = world.compare(world.image(FIX))
    finally:
        file.write_text(kept)
    assert report.verdict == "inconclusive"
    assert not trials
    assert "graders_changed" in report.reasons[0]


def test_a_spent_budget_ends_it(world: World) -> None:
    spent: list[int] = []

    def spend(count: int) -> str | None:
        spent.append(count)
        return "10 replays are used up" if len(spent) >= 10 else None

    report, trials = world.compare(world.image(FIX), spend=spend)
    assert report.verdict == "out_of_budget"
    assert len(trials) == 10


def test_the_error_budget_is_split_over_candidates(world: World) -> None:
    report, _ = world.compare(world.image(FIX), candidates_in_batch=3)
    assert report.verdict == "inconclusive"
    assert report.e_threshold == pytest.approx(60)
    assert any("held-out cases, 9 are needed" in line for line in report.cannot_show)
