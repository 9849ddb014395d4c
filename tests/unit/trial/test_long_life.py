"""One long life: which turns it holds, and what of it counts against a candidate."""

from evidence.cases import Cassette, RecordedCall, RecordedTurn, RegressionCase
from trial.long_life import MOST_TURNS, long_life, make_life
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
