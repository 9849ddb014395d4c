"""The gate against what it must never accept, for real: itself, nothing, and luck."""

from pathlib import Path

import pytest
from trial_batch import graders, sealed, tiny_image

from containers.bubblewrap import BubblewrapRuntime
from containers.engine import get_runtime
from trial.admission import nothing_passes
from trial.arena import Arena
from trial.measure import VerdictPolicy
from trial.plan import repeats
from trial.standing import baseline_against_itself, do_nothing

FLAKY = ("    def attempt(self, turn: Turn, text: str)", """\
    def attempt(self, turn, text):
        status, answer, note = self.surely(turn, text)
        return status, answer if os.urandom(1)[0] >= 77 else "by bad luck", note

    def surely(self, turn: Turn, text: str)""")  # fmt: skip
RIGHT = ("min(int(word)", "max(int(word)")
ONLY_GAIN = VerdictPolicy(visible_fixed=0.0)
"""Lets the betting test speak: a flaky service does not get past its visible cases otherwise."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("h")


@pytest.fixture(scope="module")
def runtime(home: Path) -> BubblewrapRuntime:
    return get_runtime("bubblewrap", home)


def test_a_steady_service_neither_beats_itself_nor_loses_to_nothing(
    home: Path, runtime: BubblewrapRuntime
) -> None:
    image, manifest = tiny_image(runtime, home / "steady")
    with graders(home, runtime) as loaded, Arena(runtime, manifest, workdir=home / "a") as arena:
        batch = sealed(loaded, image)
        same = baseline_against_itself(arena, batch, loaded, seed=1)
        lazy = do_nothing(runtime, arena, batch, loaded, manifest, seed=1, policy=ONLY_GAIN)
    assert same.report.verdict == "needs_work", same.reason
    assert lazy.ok, lazy.reason
    assert not lazy.gain_shown
    assert lazy.report.candidate["held_out"].passed == 0
    assert lazy.report.verdict == "needs_work", lazy.reason


def test_a_service_that_is_flaky_on_purpose_does_not_beat_itself(
    home: Path, runtime: BubblewrapRuntime
) -> None:
    """Five of the hundred runs that `benchmarks/false_accepts.py` makes."""
    image, manifest = tiny_image(runtime, home / "flaky", RIGHT, FLAKY)
    with graders(home, runtime) as loaded, Arena(runtime, manifest, workdir=home / "b") as arena:
        batch = sealed(loaded, image, visible=1, held_out=12, regression=4)
        runs = [
            baseline_against_itself(arena, batch, loaded, seed=seed, policy=ONLY_GAIN) for seed in range(5)
        ]
        jobs = repeats(batch.regression, image.digest, times=12, seed=1)
        outcomes = [trial.outcome for trial in arena.run(jobs, loaded.grade)]
    assert [run.reason for run in runs if not run.ok] == []
    assert sum(run.gain_shown for run in runs) <= 2
    assert 0.4 < outcomes.count("pass") / len(outcomes) < 0.95, "the service is flaky indeed"
    assert any(run.report.baseline["held_out"].passed for run in runs), "luck can make a case pass"


def test_a_case_that_silence_would_pass_is_refused(home: Path, runtime: BubblewrapRuntime) -> None:
    image, _ = tiny_image(runtime, home / "asked")
    with graders(home, runtime) as loaded:
        batch = sealed(loaded, image, visible=1, held_out=1, regression=1)
        case = batch.visible[0]
        assert nothing_passes(case, loaded) is None
        silent = case.turn.model_copy(update={"body": {"messages": [{"role": "user", "content": "upper "}]}})
        asked = case.model_copy(update={"turn": silent})
        assert nothing_passes(asked, loaded) is None, "an answer must not be empty"
        lenient = asked.model_copy(update={"graders": [g for g in asked.graders if g.name == "skills"]})
        reason = nothing_passes(lenient, loaded)
    assert reason == "an agent that does nothing passes it"
