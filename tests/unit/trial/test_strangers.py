"""Whom nobody has met: which requests come, and what of their answers counts against a candidate."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from evidence.cases import RecordedCall, RecordedTurn, RegressionCase
from trial.measure import VerdictPolicy
from trial.replay import Replay
from trial.strangers import MOST_TURNS, NAMES, Met, Strangers, make_strangers, statuses, strangers
from trial.turns import ReplayedTurn

POLICY = VerdictPolicy()


def turn(number: int, session: str) -> RecordedTurn:
    body: dict[str, object] = {"messages": [{"role": "user", "content": "hi"}]}
    return RecordedTurn(
        request_id=f"r{number}", session=session, path="/v1/chat", body=body, started=float(number)
    )


def case(number: int, session: str, *earlier: int) -> RegressionCase:
    prelude = tuple(turn(one, session) for one in earlier)
    return RegressionCase(
        id=f"c{number}", evidence_id="", fingerprint="", turn=turn(number, session), prelude=prelude
    )


def made() -> Strangers:
    found = make_strangers([case(1, "a"), case(9, "b", 7, 8), case(3, "c", 2)])
    assert found is not None
    return found


MADE = made()
ODD = [turn.request_id for turn in (*MADE.odd.prelude, MADE.odd.turn)]
MET = Met({"c1": True, "c9": True, "c3": True}, {**dict.fromkeys(ODD, 404), ODD[0]: 200, ODD[1]: 500})


def test_sessions_have_other_names_and_stay_apart() -> None:
    life = MADE.renamed.case
    sessions = {turn.request_id: turn.session for turn in (*life.prelude, life.turn)}
    assert sessions["r7"] == sessions["r8"] == sessions["r9"] == NAMES[1]
    assert sessions["r2"] == sessions["r3"] == NAMES[0], "what remembers comes first"
    assert sessions["r1"] == NAMES[2]


@given(st.lists(st.integers(0, 60), max_size=60, unique=True))
def test_however_many_sessions_there_are_no_two_share_a_name(numbers: list[int]) -> None:
    found = make_strangers([case(number, f"s{number}") for number in numbers])
    assert (found is None) == (not numbers)
    if found is not None:
        life = found.renamed.case
        turns = (*life.prelude, life.turn)
        assert len({turn.session for turn in turns}) == len(turns) == min(len(numbers), MOST_TURNS)


def test_odd_requests_ask_nobody_and_are_each_anothers() -> None:
    assert (MADE.odd.on_model_miss, MADE.odd.on_tool_miss, MADE.odd.cassette.calls) == ("fail", "fail", ())
    turns = (*MADE.odd.prelude, MADE.odd.turn)
    assert len({turn.session for turn in turns}) == len(turns) >= 25
    assert {turn.path for turn in turns} > {"/v1/chat"}


@given(
    st.dictionaries(st.sampled_from(ODD), st.none() | st.integers(100, 599)),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_nobody_is_accused_of_what_the_live_image_does_alike(
    statuses: dict[str, int | None], passed: list[bool]
) -> None:
    met = Met(dict(zip(("c1", "c9", "c3"), passed, strict=True)), statuses)
    assert strangers(MADE, met, met, POLICY).ok


def with_status(ident: str, status: int | None) -> Met:
    return replace(MET, statuses={**MET.statuses, ident: status})


def test_what_counts_against_a_candidate() -> None:
    assert strangers(MADE, MET, MET, POLICY).ok
    assert "other names" in strangers(MADE, MET, replace(MET, passed={"c1": True}), POLICY).reason
    assert "breaks it" in strangers(MADE, MET, with_status(ODD[2], None), POLICY).reason
    assert "breaks it" in strangers(MADE, MET, with_status(ODD[0], 500), POLICY).reason
    assert (
        "with 201, the live image with 404" in strangers(MADE, MET, with_status(ODD[3], 201), POLICY).reason
    )


def test_what_does_not() -> None:
    for ident, status in ((ODD[0], 400), (ODD[1], None), (ODD[1], 200), (ODD[2], 422)):
        assert strangers(MADE, MET, with_status(ident, status), POLICY).ok


def test_who_asks_a_model_that_is_not_there_has_not_broken_down() -> None:
    first, second = ReplayedTurn(ODD[0], 502), ReplayedTurn(ODD[1], 400)
    call = RecordedCall(
        kind="model",
        target="/v1",
        request_id=ODD[0],
        request={},
        response={},
        start_order=0,
        end_order=1,
        latency=0.0,
    )
    seen = statuses(Replay(turns=(first, second), calls=(call,), files=Path("/none")))
    assert seen == {ODD[1]: 400}
    assert strangers(MADE, MET, replace(MET, statuses=seen), POLICY).ok


def test_what_goes_well_in_one_of_two_tries_was_lost_by_chance() -> None:
    bad = replace(with_status(ODD[2], None), passed={**MET.passed, "c1": False})
    other = replace(MET, passed={**MET.passed, "c3": False})
    assert not strangers(MADE, MET, bad, POLICY).ok
    assert strangers(MADE, MET, bad.or_else(other), POLICY).ok
    assert not strangers(MADE, MET, bad.or_else(bad), POLICY).ok
