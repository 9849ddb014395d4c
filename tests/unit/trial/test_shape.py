"""The form of a reply: which places it has and of what kind, never its words."""

import json

from hypothesis import given
from hypothesis import strategies as st

from trial.shape import shape_of
from trial.turns import ReplayedTurn

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def turn(reply: object, **fields: object) -> ReplayedTurn:
    return ReplayedTurn("r-1", 200, reply, {"content-type": "application/json; charset=utf-8"}, **fields)  # type: ignore[arg-type]


def test_words_do_not_count_and_places_and_kinds_do() -> None:
    one = shape_of(turn({"id": "chat-r-1", "choices": [{"text": "hello", "index": 0}]}))
    assert one == shape_of(
        turn({"id": "r-1", "choices": [{"text": "bye", "index": 1.0}, {"text": "", "index": 2}]})
    )
    assert one - shape_of(turn({"id": "chat-0", "choices": [{"text": "hello", "index": 0}]})) == {
        "reply.id: the request's id"
    }
    assert one - shape_of(turn({"id": "r-1", "choices": [{"text": ["hello"], "index": 0}]})) == {
        "reply.choices[].text: str"
    }


def test_a_stream_is_its_frames_and_its_last_mark() -> None:
    frames = [json.dumps({"delta": word}) for word in ("a", "b")]
    whole = shape_of(turn([*frames, "[DONE]"]))
    assert whole - shape_of(turn(frames)) == {"reply[]: [DONE]"}


def test_status_media_type_and_headers_count_and_the_connection_does_not() -> None:
    got = ReplayedTurn("r", 206, "", {"content-type": "text/plain", "x-session": "s", "date": "now"})
    assert {"status 206", "media type text/plain", "header x-session"} <= shape_of(got)
    assert "header date" not in shape_of(got)


def test_what_is_nested_too_deep_ends() -> None:
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    assert shape_of(turn(deep))
    assert shape_of(turn("[" * 100_000 + '{"'))
    assert shape_of(turn('{"a":' * 100_000))


@given(JSON)
def test_a_reply_has_the_form_that_it_has(reply: object) -> None:
    assert shape_of(turn(reply)) == shape_of(turn(json.loads(json.dumps(reply))))
