"""A tape answers each recorded request once, in order, for its own turn first; discovery for ever."""

from hypothesis import given
from hypothesis import strategies as st

from evidence.cases import Cassette, RecordedCall
from trial.gateway import rpc
from trial.gateway.tape import Tape


def call(request: object, number: int, request_id: str = "", target: str = "s/t") -> RecordedCall:
    return RecordedCall(
        kind="tool",
        target=target,
        request_id=request_id,
        request=request,
        response={"result": number},
        start_order=2 * number,
        end_order=2 * number + 1,
        latency=0,
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["", "a", "b"])), max_size=12), st.data())
def test_equal_requests_are_consumed_in_order_each_once(
    recorded: list[tuple[int, str]], data: st.DataObject
) -> None:
    calls = [call({"n": n}, i, turn) for i, (n, turn) in enumerate(recorded)]
    tape = Tape(Cassette(calls=tuple(data.draw(st.permutations(calls)))))
    left = list(calls)
    for _ in range(len(calls) + 2):
        n, turn = data.draw(st.integers(0, 2)), data.draw(st.sampled_from(["", "a", "b"]))
        got = tape.take("tool", "s/t", {"n": n}, turn)
        same = [one for one in left if one.request == {"n": n}]
        own = [one for one in same if one.request_id == turn]
        assert got == next(iter(own or same), None)
        if got is not None:
            left.remove(got)


def test_key_order_does_not_matter_but_everything_else_does() -> None:
    tape = Tape(Cassette(calls=(call({"a": 1, "b": [1, 2]}, 0),)))
    assert tape.take("tool", "s/t", {"b": [2, 1], "a": 1}, "") is None
    assert tape.take("tool", "s/u", {"b": [1, 2], "a": 1}, "") is None
    assert tape.take("model", "s/t", {"b": [1, 2], "a": 1}, "") is None
    assert tape.take("tool", "s/t", {"b": [1, 2], "a": 1}, "") is not None


def test_only_discovery_is_repeated() -> None:
    failed = call({}, 0, target="s#tools/list")
    tape = Tape(Cassette(calls=(failed, call({}, 1)), catalog={"d": {"tools/list": {"tools": []}}}))
    assert tape.servers == ["d", "s"]
    assert [tape.take("tool", "s#tools/list", {}, "") for _ in range(3)] == [failed] * 3
    assert tape.take("tool", "s/t", {}, "") is not None
    assert tape.take("tool", "s/t", {}, "") is None
    listing = rpc.Message("request", 1, "tools/list", {})
    assert [tape.discovered("d", listing) for _ in range(2)] == [{"result": {"tools": []}}] * 2
    assert tape.discovered("d", rpc.Message("request", 1, "tools/list", {"cursor": "2"})) is None
    assert tape.discovered("s", listing) is None


def test_the_nearest_is_most_alike_and_unused_ones_come_first() -> None:
    calls = (call({"q": "red", "n": 1}, 0), call({"q": "blue", "n": 1}, 1), call({"q": "blue", "n": 2}, 2))
    tape = Tape(Cassette(calls=calls))
    asked = {"q": "blue", "n": 3}
    assert [tape.nearest("tool", "s/t", asked) for _ in range(3)] == [calls[1], calls[2], calls[0]]
    assert tape.nearest("tool", "s/t", {"q": "red", "n": 1}) == calls[0], "when all are used, again"
    assert tape.nearest("tool", "s/other", asked) is None
