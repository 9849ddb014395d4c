"""A judge counts after it was seen to be right, by distinct cases that graders confirmed, and never before."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.judge.calibration import calibrate, wilson_lower
from evolve.judge.identity import identity
from evolve.judge.models import Calibrated, Judged, JudgedCase, Word
from evolve.settings import Settings


def judged(*cases: tuple[str, Word], judge: str = "j", mended: bool = True) -> Judged:
    return Judged(
        candidate_id="k",
        judge=judge,
        keypoints="sha256:0",
        cases=tuple(JudgedCase(case_id=c, mended=mended, word=word, points=()) for c, word in cases),
        alike=(),
    )


def many(count: int, word: Word = "better", start: int = 0) -> Judged:
    return judged(*((f"case{start + n}", word) for n in range(count)))


def found(*all_of: Judged) -> Calibrated:
    return calibrate("j", all_of, needed_cases=20, needed=0.8)


def test_the_bound_is_wilson_s() -> None:
    """The intervals of R. Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I."""
    for agreed, cases, lower in ((81, 263, 0.2553), (15, 148, 0.0624), (1, 29, 0.0061), (0, 20, 0.0)):
        assert wilson_lower(agreed, cases, 0.975) == pytest.approx(lower, abs=5e-5)
    z = 1.6448536
    assert wilson_lower(20, 20) == pytest.approx(20 / (20 + z * z))
    assert wilson_lower(0, 0) == 0.0


@given(st.integers(1, 200), st.data())
def test_the_bound_lies_below_the_share_and_grows_with_it(cases: int, data: st.DataObject) -> None:
    agreed = data.draw(st.integers(0, cases - 1))
    assert 0 <= wilson_lower(agreed, cases) <= agreed / cases
    assert wilson_lower(agreed, cases) < wilson_lower(agreed + 1, cases) < 1


def test_enough_cases_and_enough_agreement_count() -> None:
    assert found(many(20)).counts
    assert found(many(19), many(1, "worse", start=19)).counts
    assert not found(many(18), many(2, "worse", start=18)).counts
    assert not found(many(19)).counts
    assert "19 of 19 cases; 20 cases are needed" in found(many(19)).reason
    assert not found().counts


@pytest.mark.parametrize("word", ["worse", "same", "disagree"])
def test_whatever_is_not_right_in_both_orders_is_wrong(word: Word) -> None:
    assert (found(many(20, word)).agreed, found(many(20, word)).counts) == (0, False)


def test_one_case_is_one_point_and_once_wrong_is_wrong() -> None:
    assert found(*[many(1)] * 50).cases == 1
    for again in (found(many(20), many(2, "disagree")), found(many(2, "disagree"), many(20))):
        assert (again.cases, again.agreed, again.counts) == (20, 18, False)


def test_what_graders_did_not_tell_apart_and_other_judges_say_nothing() -> None:
    assert found(judged(("a", "better"), mended=False)).cases == 0
    assert found(judged(("a", "better"), judge="another")).cases == 0


def test_another_model_is_another_judge_and_another_key_is_not() -> None:
    def who(**changes: object) -> str:
        coder = {"kind": "codex", "model": "m", "base_url": "http://x", **changes}
        return identity(
            Settings.model_validate({"home": Path("/x"), "run": {"judge": "j"}, "coders": {"j": coder}})
        )

    assert who() == who(api_key_env="OTHER", usd_micros_per_million_input=5)
    assert len({who(), who(model="n"), who(base_url="http://y"), who(kind="opencode")}) == 4
