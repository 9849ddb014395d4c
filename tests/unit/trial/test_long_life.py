"""One long life: which turns it holds, and what of it counts against a candidate."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from containers.shard import UNKNOWN, Used
from evidence.cases import Cassette, RecordedCall, RecordedTurn, RegressionCase
from trial.inflight import Told
from trial.long_life import (
    MOST_TURNS,
    Lived,
    Repeat,
    at_once,
    growth,
    inflight,
    long_life,
    make_busy_life,
    make_life,
    repeats,
)
from trial.measure import VerdictPolicy

POLICY = VerdictPolicy()
ALL = dict.fromkeys(map(str, range(100)), True)


def turn(number: int) -> RecordedTurn:
    return RecordedTurn(request_id=f"r{number}", session="s", path="/", body={}, started=float(number))


def call(number: int) -> RecordedCall:
    return RecordedCall(
        kind="model", target="/", request_id=f"r{number}", request={"n": number}, response={},
        start_order=2 * number, end_order=2 * number + 1, latency=0.0,
    )  # fmt: skip


def case(number: int, *earlier: int) -> RegressionCase:
    calls = tuple(call(n) for n in (*earlier, number))
    return RegressionCase(
        id=f"c{number}", evidence_id="", fingerprint="", turn=turn(number), prelude=tuple(map(turn, earlier)),
        cassette=Cassette(calls=calls, catalog={f"server{number}": {}}),
    )  # fmt: skip


def test_a_life_holds_every_turn_once_and_in_order() -> None:
    life = make_life([case(5, 1, 2), case(3), case(2, 1)])
    assert life is not None
    assert [t.request_id for t in (*life.case.prelude, life.case.turn)] == ["r1", "r2", "r3", "r5"]
    assert [c.id for c in life.lived] == ["c2", "c3", "c5"]
    assert [c.request_id for c in life.case.cassette.calls] == ["r1", "r2", "r3", "r5"]
    assert set(life.case.cassette.catalog) == {"server2", "server3", "server5"}


def test_a_life_ends_before_it_is_too_long() -> None:
    life = make_life([case(number) for number in range(MOST_TURNS + 20)])
    assert life is not None
    assert len(life.lived) == MOST_TURNS
    assert make_life([]) is None


def test_what_the_baseline_gets_wrong_too_is_not_held_against_the_candidate() -> None:
    assert long_life(ALL | {"1": False}, ALL | {"1": False}, {}, POLICY).ok
    assert not long_life(ALL, ALL | {"1": False}, {}, POLICY).ok
    assert not long_life(ALL, {}, {}, POLICY).ok, "no answer is no right answer"
    assert long_life({}, {}, {}, POLICY).ok


def test_what_was_mended_stays_mended() -> None:
    assert long_life(ALL, ALL, dict.fromkeys("abcdefghij", True), POLICY).ok
    assert long_life(ALL, ALL, dict.fromkeys("abcdefghij", True) | {"a": False}, POLICY).ok, "flaky perhaps"
    assert not long_life(ALL, ALL, {"a": True, "b": False, "c": False}, POLICY).ok


def lived(**fields: Any) -> Lived:
    given: dict[str, Any] = {
        "passed": ALL,
        "seconds": dict.fromkeys(ALL, 0.1),
        "again": {},
        "state_bytes": 1000,
        "state_files": 4,
    }
    return Lived(**{**given, "used": Used(50 << 20, 10, 3), **fields})


def test_some_turns_come_again_at_the_end() -> None:
    life = make_life([case(number) for number in range(10)], repeated=3)
    assert life is not None
    assert [t.request_id for t in (*life.case.prelude, life.case.turn)][-4:] == ["r9", "r7", "r8", "r9"]
    assert life.repeated == {"r7", "r8", "r9"}
    quiet = case(11).model_copy(update={"cassette": Cassette()})
    life = make_life([case(1), case(2), quiet], repeated=2)
    assert life is not None
    assert life.repeated == {"r1", "r2"}, "a turn that called nothing shows less"


def test_side_by_side_live_only_cases_of_their_own_session() -> None:
    stranger = case(5, 1).model_copy(update={"prelude": (turn(1).model_copy(update={"session": "other"}),)})
    life = make_busy_life([case(3), stranger])
    assert life is not None
    assert [one.id for one in life.lived] == ["c3"]
    assert make_busy_life([stranger]) is None


def test_side_by_side_some_turns_stand_there_twice_and_are_not_judged_beside_that() -> None:
    life = make_busy_life([case(number) for number in range(10)], repeated=3)
    assert life is not None
    idents = Counter(t.request_id for t in (*life.case.prelude, life.case.turn))
    assert {ident for ident, times in idents.items() if times == 2} == life.repeated == {"r7", "r8", "r9"}
    assert [one.id for one in life.lived] == [f"c{number}" for number in range(7)]
    few = make_busy_life([case(number) for number in range(3)], repeated=3)
    assert few is not None
    assert len(few.repeated) == 1, "half of them at most"


def test_a_turn_that_another_case_needs_never_comes_twice_side_by_side() -> None:
    life = make_busy_life([case(number) for number in range(6)] + [case(7, 5)], repeated=3)
    assert life is not None
    assert life.repeated == {"r3", "r4", "r7"}


def test_those_that_took_long_come_again_before_others() -> None:
    slow = case(1).model_copy(update={"turn": turn(1).model_copy(update={"latency": 2.0})})
    life = make_life([slow, case(2), case(3)], repeated=1)
    assert life is not None
    assert life.repeated == {"r1"}


def test_what_is_lost_side_by_side() -> None:
    assert at_once(ALL, ALL, POLICY).ok
    assert not at_once(ALL, ALL | {"1": False}, POLICY).ok
    assert at_once({}, {}, POLICY).ok


def test_a_repeated_request_is_acted_on_once() -> None:
    once, twice, other = Repeat(True, 2), Repeat(True, 4), Repeat(False, 2)
    assert repeats(lived(again={"a": once}), lived(again={"a": once})).ok
    assert not repeats(lived(again={"a": once}), lived(again={"a": twice})).ok
    assert not repeats(lived(again={"a": once}), lived(again={"a": other})).ok
    assert not repeats(lived(again={"a": once}), lived()).ok, "no answer the second time"
    assert repeats(lived(again={"a": other}), lived(again={"a": other})).ok, "the live image does it too"
    assert repeats(lived(again={"a": once}), lived(again={"a": Repeat(True, 1)})).ok
    assert repeats(None, None).ok


def test_a_request_that_comes_twice_at_once_is_acted_on_once() -> None:
    once, twice, other = Repeat(True, 2), Repeat(True, 4), Repeat(False, 2)
    clean = lived(again={"a": once, "b": once, "c": once})

    def ok(candidate: Lived, baseline: Lived = clean) -> bool:
        return repeats(lived(), lived(), baseline, candidate).ok

    assert ok(clean)
    assert ok(lived(again=clean.again | {"a": other})), "one may be chance"
    assert not ok(lived(again=clean.again | {"a": other, "b": twice}))
    assert not ok(lived()), "no answer"
    wild = lived(again={"a": other, "b": other, "c": other})
    assert ok(wild, wild)
    assert ok(wild, lived(again=clean.again | {"c": other})), (
        "the live image may merely have been lucky twice"
    )


def test_who_is_at_work_says_so() -> None:
    def ok(baseline: Told, candidate: Told) -> bool:
        return inflight(lived(inflight=baseline), lived(inflight=candidate)).ok

    says, silent = Told(40, 39), Told(40, 0)
    assert ok(says, says)
    assert not ok(says, silent)
    assert not ok(says, Told(40, 5)), "seldom"
    assert ok(says, Told(40, 20)), "late perhaps"
    assert ok(silent, silent), "the live image does not either"
    assert ok(Told(40, 10), silent), "nor reliably"
    assert ok(Told(5, 5), silent), "hardly asked"
    assert ok(says, Told(5, 0)), "hardly asked"
    assert inflight(None, None).ok


@given(st.integers(0, 100), st.integers(0, 100))
def test_nobody_is_accused_of_what_the_live_image_does_alike(asked: int, busy: int) -> None:
    told = lived(inflight=Told(max(asked, busy), busy))
    assert inflight(told, told).ok


def test_a_life_that_takes_more_and_more() -> None:
    assert growth(lived(), lived(), POLICY).ok
    assert growth(None, None, POLICY).ok
    assert "bytes of state" in growth(lived(), lived(state_bytes=40 << 20), POLICY).reason
    assert "bytes of memory" in growth(lived(), lived(used=Used(300 << 20, 10, 3)), POLICY).reason
    assert "open files" in growth(lived(), lived(used=Used(50 << 20, 120, 3)), POLICY).reason
    assert "threads" in growth(lived(), lived(used=Used(50 << 20, 10, 90)), POLICY).reason
    assert "files of state" in growth(lived(), lived(state_files=120), POLICY).reason
    assert growth(lived(), lived(used=UNKNOWN), POLICY).ok
    later = {name: 0.1 + 0.01 * int(name) for name in ALL}
    assert "slower" in growth(lived(), lived(seconds=later), POLICY).reason
    assert growth(lived(passed=ALL | {"3": False}), lived(seconds=dict.fromkeys(ALL, 0.1)), POLICY).ok
