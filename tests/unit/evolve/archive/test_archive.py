"""The population: who leads, who has children, who is merged."""

import random
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from evolve.archive import Entry, choose_parent, lead, rank, worth_merging
from evolve.archive.parents import novelty

CASES = ("a", "b", "c", "d")


def entry(name: str, mends: str = "", **more: object) -> Entry:
    scores: Mapping[str, float] = {case: float(case in mends) for case in CASES}
    values: dict[str, object] = {
        "id": name,
        "iteration": 1,
        "coder": "mend",
        "commit": name,
        "parents": (),
        "scores": scores,
        "lost": (),
        "lines": 2,
        "micro_usd": 0,
        "files": ("app.py",),
    }
    return Entry(**{**values, **more})  # type: ignore[arg-type]


def names(entries: object) -> list[str]:
    return [one.id for one in entries]  # type: ignore[attr-defined]


SHARES = st.sampled_from((0.0, 0.5, 1.0))
ENTRIES = st.lists(
    st.builds(
        lambda number, shares, lost, lines, cost, word, judged: entry(
            f"c{number}",
            scores=dict(zip(CASES, shares, strict=True)),
            lost=lost,
            lines=lines,
            micro_usd=cost,
            word=word,
            judged=judged,
        ),
        st.integers(0, 10**6),
        st.tuples(SHARES, SHARES, SHARES, SHARES),
        st.sampled_from(((), ("x",), ("x", "y"))),
        st.integers(1, 50),
        st.integers(0, 50),
        st.sampled_from(("", "needs_work", "cheated")),
        st.integers(-4, 4),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)


def dominates(one: Entry, other: Entry) -> bool:
    a = (one.gain, -len(one.lost), -one.lines, -one.micro_usd)
    b = (other.gain, -len(other.lost), -other.lines, -other.micro_usd)
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


@given(ENTRIES, st.randoms(use_true_random=False))
def test_no_one_stands_before_somebody_better_and_order_of_arrival_does_not_matter(
    entries: list[Entry], shuffler: random.Random
) -> None:
    order = rank(entries)
    assert sorted(names(order)) == sorted(names(entries))
    for place, one in enumerate(order):
        assert not any(dominates(later, one) for later in order[place + 1 :])
    shuffled = list(entries)
    shuffler.shuffle(shuffled)
    assert names(rank(shuffled)) == names(order)


PARTS = st.dictionaries(st.sampled_from(CASES), SHARES)


@given(PARTS, PARTS, st.integers(1, 3), st.integers(1, 3))
def test_what_one_side_alone_was_scored_on_makes_nobody_better(
    one: dict[str, float], other: dict[str, float], lines: int, others: int
) -> None:
    both = one.keys() & other.keys()
    a, b = entry("a", scores=one, lines=lines), entry("b", scores=other, lines=others)
    cut = [replace(e, scores={case: e.scores[case] for case in both}) for e in (a, b)]
    assert names(rank([a, b])) == names(rank(cut))
    assert (lead(one, other) is None) == (not both)
    for first, second in ((a, b), (b, a)):
        if any(first in pair for pair in worth_merging([a, b])):
            assert any(second.scores.get(case, 1.0) < 1.0 for case in first.mended)


def test_of_two_that_neither_beats_the_other_the_larger_gain_leads() -> None:
    small, large = entry("small", "a", lines=1), entry("large", "abc", lines=40)
    assert names(rank([small, large])) == ["large", "small"]


def test_a_judge_orders_those_that_are_measured_alike_and_nobody_else() -> None:
    one, other = entry("a", "ab"), entry("b", "ab", judged=2)
    assert names(rank([one, other])) == ["b", "a"]
    dear, long = entry("dear", "ab", micro_usd=9, judged=1), entry("long", "ab", lines=9)
    assert names(rank([dear, long])) == ["dear", "long"]  # neither is both smaller and cheaper
    for better in (entry("x", "abc"), entry("x", "ab", lines=1)):
        assert names(rank([better, other])) == ["x", "b"]
    assert names(rank([entry("x", "ab", lost=("y",), lines=1, judged=9), other])) == ["b", "x"]


@given(ENTRIES, st.integers(0, 99))
def test_a_parent_mends_something_breaks_nothing_and_is_no_cheat(entries: list[Entry], seed: int) -> None:
    assert choose_parent(entries, 1, random.Random(seed)) is None
    drawn = choose_parent(entries, 2, random.Random(seed))
    assert drawn is None or (drawn.gain > 0 and not drawn.lost and drawn.word != "cheated")
    again = choose_parent(entries, 2, random.Random(seed))
    assert (drawn and drawn.id) == (again and again.id)


def test_score_novelty_and_youth_each_raise_the_odds() -> None:
    def share(entries: list[Entry], name: str, iteration: int = 2) -> float:
        rng = random.Random(1)
        drawn = [choose_parent(entries, iteration, rng) for _ in range(2000)]
        return sum(one is not None and one.id == name for one in drawn) / len(drawn)

    weak, strong = entry("weak", "a"), entry("strong", "abc", files=("other.py",))
    assert share([weak, strong], "strong") > share([weak, strong], "weak")
    old, young = entry("old", "ab", iteration=1), entry("young", "ab", iteration=3)
    assert share([old, young], "young", 4) > share([old, young], "old", 4)
    twins = [entry("one", "ab"), entry("two", "ab"), entry("lone", "cd", files=("other.py",))]
    assert share(twins, "lone") > share(twins, "one")
    assert novelty(entry("only", "a"), [entry("only", "a")]) == 1.0


@given(ENTRIES)
def test_only_what_adds_to_one_another_is_merged_and_never_twice(entries: list[Entry]) -> None:
    pairs = worth_merging(entries)
    for one, other in pairs:
        assert one.mended - other.mended
        assert other.mended - one.mended
        assert not one.lost + other.lost
    done = [entry(f"m{number}", parents=(one.id, other.id)) for number, (one, other) in enumerate(pairs)]
    tried = {frozenset((one.id, other.id)) for one, other in pairs}
    for one, other in worth_merging([*entries, *done]):
        assert frozenset((one.id, other.id)) not in tried


def test_the_pair_that_mends_most_comes_first() -> None:
    found = worth_merging([entry("a", "a"), entry("b", "b"), entry("c", "cd")], most=1)
    assert [{one.id, other.id} for one, other in found] in ([{"a", "c"}], [{"b", "c"}])
