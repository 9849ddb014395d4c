"""Two orders of the same pairs: both are kept, and only what both say is an opinion."""

from hypothesis import given
from judge_pairs import pairs_and_scores, pairs_of

from evolve.judge.agreement import side_by_side
from evolve.judge.blind import by_arm, draw_first
from evolve.judge.models import LEVELS, Level, Pair, Pairs, Scored, ScoresAnswer
from evolve.stage import Place
from trial.report import Arm

POINTS = ("right", "short", "plain")
PAIR = Pair(case_id="a", points=POINTS, baseline="6", candidate="7", mended=True)
BAD: tuple[Level, ...] = ("missing", "weak", "weak")
GOOD: tuple[Level, ...] = ("strong", "adequate", "weak")


def scored(levels: dict[str, dict[Arm, tuple[Level, ...]]], trouble: str = "") -> Scored:
    return Scored(first={}, levels=levels, shown_blob="sha256:0", asked=None, trouble=trouble)


def order(baseline: tuple[Level, ...], candidate: tuple[Level, ...]) -> Scored:
    return scored({"a": {"baseline": baseline, "candidate": candidate}})


def both(pairs: Pairs, one: ScoresAnswer, other: ScoresAnswer) -> list[Scored]:
    return [
        scored(by_arm(answer, pairs, draw_first(pairs, 5, Place(1, 1), swapped)))
        for swapped, answer in ((False, one), (True, other))
    ]


def test_what_both_orders_say_is_what_it_says() -> None:
    for orders, word in (
        ([order(BAD, GOOD)] * 2, "better"),
        ([order(GOOD, BAD)] * 2, "worse"),
        ([order(GOOD, GOOD)] * 2, "same"),
        ([order(BAD, GOOD), order(GOOD, BAD)], "disagree"),
        ([order(BAD, GOOD), order(GOOD, GOOD)], "disagree"),
    ):
        [case] = side_by_side(pairs_of(PAIR), orders).cases
        assert case.word == word


def test_a_wavering_level_is_kept_twice() -> None:
    [case] = side_by_side(pairs_of(PAIR), [order(BAD, GOOD), order(GOOD, BAD)]).cases
    assert (case.points[0].baseline, case.points[0].candidate) == (
        ("missing", "strong"),
        ("strong", "missing"),
    )
    assert [point.text for point in case.points] == list(POINTS)


def test_one_order_without_an_answer_leaves_nothing() -> None:
    found = side_by_side(pairs_of(PAIR), [order(BAD, GOOD), scored({}, "it wrote no answer.json")])
    assert (found.cases, found.trouble, found.net) == ((), "it wrote no answer.json", 0)


def test_where_nothing_differs_there_is_nothing_to_say() -> None:
    found = side_by_side(pairs_of(), [])
    assert (found.cases, found.trouble, found.net) == ((), "", 0)


@given(pairs_and_scores())
def test_who_goes_by_the_letter_says_nothing(drawn: tuple[Pairs, ScoresAnswer, ScoresAnswer]) -> None:
    """The same scores for A and B in both orders: the one favours an arm exactly where the other favours the other."""
    pairs, answer, _ = drawn
    found = side_by_side(pairs, both(pairs, answer, answer))
    assert {case.word for case in found.cases} <= {"same", "disagree"}
    assert found.net == 0


@given(pairs_and_scores())
def test_exchanged_arms_exchange_better_and_worse(drawn: tuple[Pairs, ScoresAnswer, ScoresAnswer]) -> None:
    pairs, one, other = drawn
    orders = both(pairs, one, other)
    turned = [
        scored({c: {"baseline": s["candidate"], "candidate": s["baseline"]} for c, s in o.levels.items()})
        for o in orders
    ]
    found, mirrored = side_by_side(pairs, orders), side_by_side(pairs, turned)
    opposite = {"better": "worse", "worse": "better", "same": "same", "disagree": "disagree"}
    assert [opposite[case.word] for case in found.cases] == [case.word for case in mirrored.cases]
    assert found.net == -mirrored.net


@given(pairs_and_scores())
def test_every_level_is_there_as_it_was_given(drawn: tuple[Pairs, ScoresAnswer, ScoresAnswer]) -> None:
    pairs, one, other = drawn
    orders = both(pairs, one, other)
    for case in side_by_side(pairs, orders).cases:
        for number in (0, 1):
            kept = tuple(point.candidate[number] for point in case.points)
            assert kept == orders[number].levels[case.case_id]["candidate"]
            assert set(kept) <= set(LEVELS)
