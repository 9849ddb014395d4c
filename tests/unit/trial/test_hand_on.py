"""Which cases hand their state on, and what of it counts against a candidate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.cases import RecordedCall, RecordedTurn, RegressionCase
from trial.graders import load_graders
from trial.hand_on import MOST_CASES, MOST_TURNS, Handed, keep, make_hand_on, state_handed_on
from trial.measure import VerdictPolicy
from trial.replay import Replay
from trial.turns import ReplayedTurn

POLICY = VerdictPolicy()
READ = dict.fromkeys("abcde", True)
GOOD = Handed(READ, {"r1": True, "r2": True})


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
    assert [t.request_id for t in (*own.prelude, own.turn)] == ["r5", "r9", "r2", "r7", "r8"]
    assert made.after.repeated == {"r2", "r7", "r8"}
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
    again = made.after.repeated
    assert again <= before
    after = [
        t.request_id for t in (*made.after.case.prelude, made.after.case.turn) if t.request_id not in again
    ]
    assert before.isdisjoint(after)
    assert len(set(after)) == len(after) == len(made.after.lived) <= MOST_CASES
    assert len(before) + len(after) <= MOST_TURNS
    assert before == {t.request_id for one in made.after.lived for t in one.prelude}


def test_what_a_service_left_outlives_its_replay(tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "file").write_text("left")
    kept = keep(Replay((), (), files=tmp_path / "out"), tmp_path / "kept").files
    (tmp_path / "out" / "deep" / "file").write_text("next case")
    assert (kept / "deep" / "file").read_text() == "left"
    assert list(keep(Replay((), (), files=Path("/dev/null")), tmp_path / "died").files.iterdir()) == []


@pytest.mark.parametrize("reader", ["forth", "back"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"passed": READ | {"a": False}}, "1 of 5 turns"),
        ({"passed": {}}, "5 of 5 turns"),
        ({"answered": {"r1": False, "r2": True}}, "1 of 2 earlier requests that come again"),
        ({"log_kept": False}, "its log said before is gone"),
    ],
)
def test_what_the_other_image_cannot_read_is_lost(reader: str, changes: dict[str, Any], said: str) -> None:
    ways = {"forth": GOOD, "back": GOOD}
    assert state_handed_on(GOOD, ways, POLICY).ok
    check = state_handed_on(GOOD, ways | {reader: replace(GOOD, **changes)}, POLICY)
    assert not check.ok
    assert said in check.reason


def test_what_two_processes_of_the_live_image_do_not_hand_on_says_nothing() -> None:
    careless = Handed(dict.fromkeys(READ, False), {"r1": False}, log_kept=False)
    assert state_handed_on(careless, {"forth": Handed({}, {"r1": False}, False)}, POLICY).ok


def test_a_request_that_comes_again_has_its_old_answer_and_calls_nobody(tmp_path: Path) -> None:
    made = make_hand_on([case(9, 7, 8)])
    assert made is not None
    (tmp_path / "out").mkdir()
    replies = tuple(ReplayedTurn(f"r{n}", 200, {"text": str(n)}) for n in (7, 8, 9))
    log: tuple[dict[str, object], ...] = ({"id": "1"}, {"id": "2"})
    left = keep(Replay(replies[:2], (), tmp_path / "out", events=log[:1]), tmp_path / "kept")

    def read(replay: Replay) -> Handed:
        return made.read(left, replay, load_graders([], tmp_path))

    again = Replay(replies, (), tmp_path / "out", events=log)
    assert read(again) == Handed({"c9": True}, {"r7": True, "r8": True}, log_kept=True)
    assert not read(replace(again, events=log[1:])).log_kept
    other = (replies[0], replace(replies[1], reply={"text": "other"}), replies[2])
    assert read(replace(again, turns=other)).answered == {"r7": True, "r8": False}
    call = RecordedCall(
        kind="tool",
        target="shop/buy",
        request={},
        response={},
        latency=0.1,
        request_id="r7",
        start_order=0,
        end_order=1,
    )
    assert read(replace(again, calls=(call,))).answered == {"r7": False, "r8": True}
