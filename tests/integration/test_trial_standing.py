"""The gate against what it must never accept, for real: itself, nothing, and luck."""

from pathlib import Path

import pytest
from trial_batch import graders, sealed, tiny_image

from containers.bubblewrap import BubblewrapRuntime
from containers.engine import get_runtime
from trial.admission import admit
from trial.arena import Arena
from trial.measure import VerdictPolicy
from trial.plan import repeats
from trial.report import Trial
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


def test_admission_asks_the_baseline_nothing_and_an_oracle(home: Path, runtime: BubblewrapRuntime) -> None:
    image, manifest = tiny_image(runtime, home / "asked")
    right, _ = tiny_image(runtime, home / "right", RIGHT)
    with graders(home, runtime) as loaded, Arena(runtime, manifest, workdir=home / "c") as arena:
        batch = sealed(loaded, image, visible=1, held_out=1, regression=1)
        cases = [batch.visible[0], batch.regression[0]]

        def replays(digest: str, times: int) -> dict[str, list[Trial]]:
            trials = list(arena.run(repeats(cases, digest, times=times, seed=2), loaded.grade))
            return {case.id: [t for t in trials if t.case_id == case.id] for case in cases}

        baseline, oracle = replays(image.digest, 2), replays(right.digest, 1)
        answers = [admit(c, loaded, baseline[c.id], oracle[c.id][0]) for c in cases]
        assert all(answer.admitted and not answer.flags for answer in answers), answers
        wrong = admit(cases[0], loaded, oracle[cases[0].id], baseline[cases[0].id][0])
    assert len(wrong.reasons) == 2
    assert wrong.flags == ("replayed once: how flaky it is was not seen",)
