"""Which cases hand their state on, and what of it counts against a candidate."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.cases import RecordedTurn, RegressionCase
from trial.hand_on import MOST_CASES, MOST_TURNS, keep, make_hand_on, state_handed_on
from trial.measure import VerdictPolicy
from trial.replay import Replay

POLICY = VerdictPolicy()
READ = dict.fromkeys("abcde", True)


def turn(number: int) -> RecordedTurn:
    return RecordedTurn(request_id=f"r{number}", session="s", path="/", body={}, started=float(number))


def case(number: int, *earlier: int) -> RegressionCase:
    return RegressionCase(
        id=f"c{number}", evidence_id="", fingerprint="", turn=turn(number), prelude=tuple(map(turn, earlier))
    )


def test_what_came_before_is_parted_from_the_cases_own_turns() -> None:
    made = make_hand_on([case(9, 7, 8), case(6), case(5, 2)])
    assert made is not None
    assert [t.request_id for t in (*made.before.prelude, made.before.turn)] == ["r2", "r7", "r8"]
    own = made.after.case
    assert [t.request_id for t in (*own.prelude, own.turn)] == ["r5", "r9"]
    assert {one.id for one in made.after.lived} == {"c5", "c9"}
    assert made.before.id != own.id


def test_nothing_is_handed_on_where_no_turn_needs_another() -> None:
    assert make_hand_on([]) is None
    assert make_hand_on([case(1), case(2)]) is None


def test_of_a_session_only_the_last_turn_is_asked_on_the_other_side() -> None:
    made = make_hand_on([case(2, 1), case(3, 1, 2), case(4, 1, 2, 3)])
    assert made is not None
    assert [one.id for one in made.after.lived] == ["c4"]


@given(
    st.dictionaries(
        st.integers(0, 40), st.lists(st.integers(0, 40), max_size=6, unique=True), min_size=1, max_size=40
    )
)
def test_no_turn_is_on_both_sides_and_none_is_missing(chosen: dict[int, list[int]]) -> None:
    made = make_hand_on([case(number, *earlier) for number, earlier in chosen.items()])
    if made is None:
        assert not any(set(earlier) - {number} for number, earlier in chosen.items() if number not in earlier)
        return
    before = {t.request_id for t in (*made.before.prelude, made.before.turn)}
    after = [t.request_id for t in (*made.after.case.prelude, made.after.case.turn)]
    assert before.isdisjoint(after)
    assert len(set(after)) == len(after) == len(made.after.lived) <= MOST_CASES
    assert len(before) + len(after) <= MOST_TURNS
    assert before == {t.request_id for one in made.after.lived for t in one.prelude}


def test_what_a_service_left_outlives_its_replay(tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "file").write_text("left")
    kept = keep(Replay((), (), files=tmp_path / "out"), tmp_path / "kept")
    (tmp_path / "out" / "deep" / "file").write_text("next case")
    assert (kept / "deep" / "file").read_text() == "left"
    assert list(keep(Replay((), (), files=Path("/dev/null")), tmp_path / "died").iterdir()) == []


@pytest.mark.parametrize("reader", ["forth", "back"])
def test_what_the_other_image_cannot_read_is_lost(reader: str) -> None:
    ways = {"forth": READ, "back": READ}
    assert state_handed_on(READ, **ways, policy=POLICY).ok
    check = state_handed_on(READ, **ways | {reader: READ | {"a": False}}, policy=POLICY)
    assert not check.ok
    assert "1 of 5 turns" in check.reason
    assert not state_handed_on(READ, **ways | {reader: {}}, policy=POLICY).ok, "no answer is no right answer"


def test_what_two_processes_of_the_live_image_do_not_hand_on_says_nothing() -> None:
    assert state_handed_on(dict.fromkeys(READ, False), {}, {}, POLICY).ok
    assert state_handed_on({}, {}, None, POLICY).reason == "no case to hand on"


def test_where_nobody_promises_a_way_back_none_is_asked_for() -> None:
    assert state_handed_on(READ, READ, None, POLICY).ok
    assert not state_handed_on(READ, {}, None, POLICY).ok
