"""The split is seeded, complete, and keeps sessions together where that can be had."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.split import Item, SealPolicy, split, targets

POLICY = SealPolicy()
ITEMS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=80
).map(
    lambda rows: [
        Item(f"case{i:03}", f"session{s}", stratum, retired) for i, (s, stratum, retired) in enumerate(rows)
    ]
)


@settings(max_examples=80, deadline=None)
@given(ITEMS, st.integers(0, 5))
def test_every_case_lands_in_one_place(items: list[Item], seed: int) -> None:
    done = split(items, seed, POLICY)
    assert sorted([*done.visible, *done.held_out, *done.unused]) == [item.key for item in items]
    assert len(done.visible) <= POLICY.max_visible
    assert len(done.held_out) <= POLICY.max_held_out
    retired = {item.key for item in items if item.retired}
    assert not retired & set(done.held_out)
    fresh = [item for item in items if not item.retired]
    visible, held_out = targets(len(fresh), POLICY)
    assert len(done.visible) >= visible
    assert len(done.held_out) == held_out
    again = split(list(reversed(items)), seed, POLICY)
    assert (again.visible, again.held_out) == (done.visible, done.held_out)


@settings(max_examples=50, deadline=None)
@given(st.integers(20, 60), st.integers(0, 3))
def test_sessions_of_one_or_two_cases_never_straddle(count: int, seed: int) -> None:
    items = [Item(f"{i:03}", f"s{i // 2}", "a") for i in range(count - count % 2)]
    done = split(items, seed, SealPolicy(max_visible=30))
    visible, held_out = targets(len(items), SealPolicy(max_visible=30))
    assert len(done.straddling) <= (visible % 2 or held_out % 2)


def test_strata_are_alike_on_both_sides() -> None:
    items = [Item(f"{i:03}", f"s{i}", "ab"[i % 2]) for i in range(40)]
    done = split(items, 3, POLICY)
    kind = {item.key: item.stratum for item in items}
    for side in (done.visible, done.held_out):
        share = sum(kind[key] == "a" for key in side) / len(side)
        assert 0.4 <= share <= 0.6


def test_minimum_is_met_exactly_when_it_can_be() -> None:
    assert targets(20, POLICY) == (8, 12)
    assert targets(19, POLICY) == (8, 11)
    assert targets(100, POLICY) == (12, 40)
    assert targets(1, POLICY) == (1, 0)
    assert targets(0, POLICY) == (0, 0)


def test_one_session_alone_is_divided_and_said() -> None:
    done = split([Item(f"{i:03}", "only", "a") for i in range(20)], 1, POLICY)
    assert (len(done.visible), len(done.held_out)) == (8, 12)
    assert done.straddling == ["only"]
