"""Minimising preludes: what comes back reproduces, keeps its order, and is as small as the budget allows."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.cases import RecordedTurn
from trial.minimise import minimise

Turns = tuple[RecordedTurn, ...]


def turn(number: int, session: str) -> RecordedTurn:
    return RecordedTurn(request_id=str(number), session=session, path="/v1/chat/completions", body={})


def ids(turns: Turns) -> list[int]:
    return [int(one.request_id) for one in turns]


histories = st.lists(st.sampled_from("abc"), max_size=24).map(
    lambda sessions: tuple(turn(i, session) for i, session in enumerate(sessions))
)


@given(st.data(), histories)
def test_finds_exactly_the_turns_that_are_needed(data: st.DataObject, history: Turns) -> None:
    needed = set(
        data.draw(st.sets(st.sampled_from(range(len(history))), max_size=4) if history else st.just(set()))
    )
    asked: list[tuple[int, ...]] = []

    def reproduces(prelude: Turns) -> bool:
        asked.append(tuple(ids(prelude)))
        return needed <= set(ids(prelude))

    found = minimise(history, "a", reproduces, budget=10_000)
    assert ids(found.prelude) == sorted(needed)
    assert found.reproduced
    assert found.minimal
    assert found.replays == len(asked) == len(set(asked)), "no question is asked twice"


@given(histories, st.sets(st.frozensets(st.integers(0, 23)), max_size=30), st.integers(0, 60))
@settings(deadline=None)
def test_whatever_the_predicate_the_answer_reproduces_within_budget(
    history: Turns, answers: set[frozenset[int]], budget: int
) -> None:
    asked: list[Turns] = []

    def reproduces(prelude: Turns) -> bool:
        asked.append(prelude)
        return frozenset(ids(prelude)) in answers or len(prelude) == len(history)

    found = minimise(history, "a", reproduces, budget=budget)
    assert found.replays == len(asked) <= budget
    chosen = ids(found.prelude)
    assert chosen == sorted(set(chosen))
    if found.reproduced:
        assert reproduces(found.prelude)
    else:
        assert found.prelude == history
    if found.minimal and len(chosen) > 1:
        assert not any(reproduces(found.prelude[:i] + found.prelude[i + 1 :]) for i in range(len(chosen)))
    assert minimise(history, "a", reproduces, budget=budget) == found


def test_nothing_then_own_session_then_one_other_then_growing_windows() -> None:
    history = tuple(turn(i, "a" if i == 2 else f"b{i // 2}") for i in range(40))
    asked: list[list[int]] = []

    def reproduces(prelude: Turns) -> bool:
        asked.append(ids(prelude))
        return {11, 13} <= set(ids(prelude))

    found = minimise(history, "a", reproduces, budget=100)
    singles = [[2, number, number + 1] for number in range(38, 22, -2)]
    assert asked[: 2 + len(singles)] == [[], [2], *singles]
    assert asked[10] == [2, *range(36, 40)]
    assert asked[11] == [2, *range(32, 40)]
    assert ids(found.prelude) == [11, 13]


def test_one_other_session_is_found_however_much_lies_between() -> None:
    history = tuple(turn(i, "leaky" if i in (3, 30) else f"s{i % 5}") for i in range(40))
    asked: list[list[int]] = []

    def reproduces(prelude: Turns) -> bool:
        asked.append(ids(prelude))
        return {3, 30} <= set(ids(prelude))

    found = minimise(history, "a", reproduces, budget=12)
    assert ids(found.prelude) == [3, 30]
    assert max(map(len, asked)) <= 8


def test_a_failure_that_never_comes_back() -> None:
    history = tuple(turn(i, "b") for i in range(5))
    found = minimise(history, "a", lambda prelude: False, budget=100)
    assert not found.reproduced
    assert found.prelude == history
    assert found.replays == 3
