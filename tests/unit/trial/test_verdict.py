"""Which word, and that nothing but an all-clear converges."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trial.measure import Evidence, VerdictPolicy, count, measure
from trial.report import Arm, Check, Outcome, Split, Trial
from trial.verdict import CHEATS, FAULTS, HARMS, REQUIRED, VOIDS, judge

POLICY = VerdictPolicy()
GUARD = (Check(name="guard.editable_only", ok=True, reason=""),)
CHECKS = tuple(Check(name=name, ok=True, reason="nothing seen") for name in REQUIRED)


def trial(case: str, split: Split, arm: Arm, outcome: Outcome) -> Trial:
    return Trial(case_id=case, split=split, arm=arm, digest=f"sha256:{arm}", outcome=outcome)


def pairs(split: Split, outcomes: list[tuple[Outcome, Outcome]]) -> list[Trial]:
    return [
        trial(f"{split}-{i}", split, arm, outcome)
        for i, both in enumerate(outcomes)
        for arm, outcome in zip(("baseline", "candidate"), both, strict=True)
    ]  # type: ignore[misc]


def evidence(
    held_out: list[tuple[Outcome, Outcome]] | None = None,
    visible: list[tuple[Outcome, Outcome]] | None = None,
    regression: list[tuple[Outcome, Outcome]] | None = None,
    **changes: object,
) -> Evidence:
    held_out = [("fail", "pass")] * 12 if held_out is None else held_out
    visible = [("fail", "pass")] * 8 if visible is None else visible
    regression = [("pass", "pass")] * 100 if regression is None else regression
    made = Evidence(
        trials=[*pairs("held_out", held_out), *pairs("visible", visible), *pairs("regression", regression)],
        planned={"held_out": len(held_out), "visible": len(visible), "regression": len(regression)},
        checks=CHECKS,
        guard=GUARD,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def word(made: Evidence, policy: VerdictPolicy = POLICY) -> str:
    return judge(made, policy).word


def test_all_clear_converges_and_says_the_numbers() -> None:
    verdict = judge(evidence(), POLICY)
    assert verdict.word == "converged"
    assert "12 won" in verdict.reasons[0]
    assert all(check.ok for check in verdict.checks)


@pytest.mark.parametrize("name", CHEATS)
def test_an_accusation_outweighs_everything(name: str) -> None:
    accused = (*CHECKS, Check(name=name, ok=False, reason="seen"))
    verdict = judge(evidence(regression=[("pass", "fail")] * 100, checks=accused), POLICY)
    assert verdict.word == "cheated"
    assert verdict.reasons[0] == f"{name}: seen"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, "regressed") for name in HARMS),
        *((name, "needs_work") for name in FAULTS),
        *((name, "inconclusive") for name in VOIDS),
        ("something_new", "needs_work"),
        ("guard.something_new", "needs_work"),
    ],
)
def test_other_checks_have_their_words(name: str, expected: str) -> None:
    assert word(evidence(checks=(*CHECKS, Check(name=name, ok=False, reason="seen")))) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("guard.no_grader_touched", "cheated"), ("guard.few_lines", "needs_work")]
)
def test_a_guard_that_objects(name: str, expected: str) -> None:
    assert word(evidence(guard=(*GUARD, Check(name=name, ok=False, reason="x")))) == expected


@pytest.mark.parametrize("name", REQUIRED)
def test_a_check_that_was_not_made_has_found_nothing(name: str) -> None:
    verdict = judge(evidence(checks=tuple(c for c in CHECKS if c.name != name)), POLICY)
    assert verdict.word == "inconclusive"
    assert name in verdict.reasons[0]


def test_without_a_guard_nothing_converges() -> None:
    assert word(evidence(guard=())) == "inconclusive"


def test_lost_regression_cases() -> None:
    assert word(evidence(regression=[("pass", "fail")] + [("pass", "pass")] * 99)) == "regressed"
    assert word(evidence(regression=[("pass", "fail")] + [("pass", "pass")] * 199)) == "converged"
    assert word(evidence(regression=[("fail", "fail")] * 2 + [("pass", "pass")] * 99)) == "converged"


def test_worse_on_held_out_cases_is_regressed() -> None:
    assert word(evidence(held_out=[("pass", "fail")] * 12)) == "regressed"


def test_no_gain_needs_work_and_a_weak_one_is_inconclusive() -> None:
    assert word(evidence(held_out=[("fail", "fail")] * 12)) == "needs_work"
    assert word(evidence(held_out=[("fail", "pass")] * 6)) == "inconclusive"
    assert word(evidence(held_out=[("fail", "pass")] * 7)) == "converged"
    assert word(evidence(held_out=[("fail", "pass")] * 7, candidates_in_batch=3)) == "inconclusive"
    assert word(evidence(held_out=[("fail", "pass")] * 9, candidates_in_batch=3)) == "converged"


def test_an_unfixed_visible_case_needs_work() -> None:
    assert word(evidence(visible=[("fail", "pass")] * 7 + [("fail", "fail")])) == "needs_work"
    lenient = VerdictPolicy(visible_fixed=0.8)
    assert word(evidence(visible=[("fail", "pass")] * 7 + [("fail", "fail")]), lenient) == "converged"


def test_a_broken_arena_is_never_a_score() -> None:
    broken: tuple[Outcome, Outcome] = ("fail", "invalid")
    assert word(evidence(held_out=[("fail", "pass")] * 9 + [broken])) == "converged"
    assert word(evidence(held_out=[("fail", "pass")] * 9 + [broken] * 3)) == "inconclusive"
    assert word(evidence(regression=[("pass", "pass")] * 99 + [("invalid", "pass")])) == "converged"


def test_a_missing_answer_is_never_imputed_in_the_candidates_favour() -> None:
    hidden: tuple[Outcome, Outcome] = ("pass", "invalid")
    assert word(evidence(regression=[("pass", "pass")] * 99 + [hidden])) == "inconclusive"
    assert measure(evidence(held_out=[("fail", "pass")] * 9 + [hidden]), POLICY).gain.lost == 1
    assert word(evidence(visible=[("fail", "pass")] * 19 + [("fail", "invalid")])) == "needs_work"


def test_too_few_regression_cases_carry_no_claim() -> None:
    assert word(evidence(regression=[])) == "inconclusive"
    assert word(evidence(regression=[("pass", "pass")] * 28)) == "inconclusive"
    verdict = judge(evidence(regression=[("pass", "pass")] * 29), POLICY)
    assert verdict.word == "converged"
    assert 0.09 < verdict.numbers.margin < 0.10


def test_an_unfinished_comparison_says_so() -> None:
    unfinished = evidence(planned={"held_out": 12, "visible": 8, "regression": 101})
    assert word(unfinished) == "inconclusive"
    assert word(replace(unfinished, out_of_budget="the money is spent")) == "out_of_budget"


def test_of_several_rows_for_a_case_the_last_one_counts() -> None:
    made = evidence()
    retried = replace(made, trials=[trial("held_out-0", "held_out", "candidate", "invalid"), *made.trials])
    assert word(retried) == "converged"
    counts = count(retried.trials, "candidate")["held_out"]
    assert (counts.cases, counts.passed, counts.invalid) == (12, 12, 0)


outcome = st.sampled_from(["pass", "pass", "pass", "fail", "invalid"])
both = st.tuples(outcome, outcome)
names = st.sampled_from([*REQUIRED, "guard.no_tests_touched", "new"])


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 14),
    st.lists(both, max_size=3),
    st.lists(both, max_size=2),
    st.lists(both, max_size=3),
    st.sampled_from([0, 20, 97, 99, 160]),
    st.lists(names, max_size=1),
    st.sets(st.sampled_from(REQUIRED), max_size=1),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
)
def test_nothing_but_an_all_clear_converges(
    won: int,
    held_out: list[tuple[Outcome, Outcome]],
    visible: list[tuple[Outcome, Outcome]],
    regression: list[tuple[Outcome, Outcome]],
    clean: int,
    accused: list[str],
    dropped: set[str],
    guarded: bool,
    broke: bool,
    candidates: int,
) -> None:
    checks = [c for c in CHECKS if c.name not in dropped]
    checks += [Check(name=name, ok=False, reason="x") for name in accused]
    made = evidence(
        [("fail", "pass")] * won + held_out,
        [("fail", "pass")] * 8 + visible,
        [("pass", "pass")] * clean + regression,
        checks=tuple(checks),
        guard=GUARD if guarded else (),
        out_of_budget="spent" if broke else None,
        candidates_in_batch=candidates,
    )
    verdict, numbers = judge(made, POLICY), measure(made, POLICY)
    all_clear = (
        not accused
        and not dropped
        and guarded
        and not broke
        and numbers.gain.peak >= 20 * candidates
        and numbers.gain.won > numbers.gain.lost
        and all(b == "invalid" or c == "pass" for b, c in visible)
        and numbers.upper_bound <= numbers.margin <= 0.1
        and all(
            sum("invalid" in p for p in some) <= 0.1 * (len(some) + more)
            for some, more in ((held_out, won), (visible, 8), (regression, clean))
        )
        and numbers.planned["regression"] > 0
    )
    assert (verdict.word == "converged") == all_clear
    assert verdict.reasons
