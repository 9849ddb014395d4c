"""Wire formats: frames survive any chunking, recordings ignore who asks, limits bound what a call costs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.canonical import canonical_json
from trial.gateway import rpc, wire
from trial.gateway.config import Price, Upstream

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=True)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
plain = st.dictionaries(names, st.integers(), max_size=4)
frames = st.lists(
    st.fixed_dictionaries(
        {"data": plain | st.just("[DONE]")}, optional={"event": st.sampled_from(["ping", "message_start"])}
    ),
    max_size=5,
)


@given(frames, st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[dict[str, object]], data: st.DataObject
) -> None:
    stream = b"".join(wire.render_frame(frame) for frame in sent)
    if data.draw(st.booleans()):
        stream = stream.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    splitter = wire.FrameSplitter()
    got = [wire.parse_frame(frame) for chunk in chunks for frame in splitter.feed(chunk)]
    assert got == sent
    assert splitter.rest() == b""


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_that_can_be_stored(noise: bytes) -> None:
    splitter = wire.FrameSplitter()
    for frame in [*splitter.feed(noise), splitter.rest()]:
        canonical_json({name: wire.storable(value) for name, value in wire.parse_frame(frame).items()})


@given(values)
def test_whatever_json_parses_can_be_stored(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        canonical_json(wire.storable(json.loads(text)))


@given(plain, st.sampled_from(sorted(wire.VOLATILE)))
def test_volatile_fields_change_nothing_but_only_at_the_top(body: dict[str, object], name: str) -> None:
    body = {key: value for key, value in body.items() if key not in wire.VOLATILE}
    assert wire.canonical_request({**body, name: "x"}) == wire.canonical_request(body) == body
    assert wire.canonical_request({"inner": {name: "x"}}) == {"inner": {name: "x"}}


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        ("/v1/chat/completions", {}, 4096),
        ("/v1/chat/completions", {"max_tokens": 5}, 5),
        ("/v1/chat/completions", {"max_completion_tokens": 7, "n": 3}, 21),
        ("/v1/responses", {"max_output_tokens": 9, "max_tokens": 1}, 9),
        ("/v1/messages", {"max_tokens": True}, 4096),
        ("/v1/chat/completions", {"max_tokens": 1e9, "n": "5"}, 4096),
        ("/v1/chat/completions", {"max_completion_tokens": 5, "max_tokens": 70}, 70),
    ],
)
def test_the_output_limit_is_the_request_s_or_ours(path: str, body: dict[str, object], tokens: int) -> None:
    upstream = Upstream(base_url="http://x", prices={"*": Price(input=0, output=1_000_000)})
    assert wire.output_limit(path, body, 4096) == tokens
    assert wire.worst_case(path, body, 100, upstream).micro_usd == tokens
    forwarded, _ = wire.bounded(path, body, upstream)
    assert wire.output_limit(path, forwarded, 10**9) <= tokens, "never more than was reserved"
    assert all(type(value) is int for value in forwarded.values())


def test_usage_is_found_in_every_format() -> None:
    chat = {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    responses = {"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}}
    delta = {"type": "message_delta", "usage": {"output_tokens": 4}}
    assert wire.usage_of(chat) == wire.usage_of(responses) == (3, 4)
    assert wire.merge_usage(wire.usage_of(start), wire.usage_of(delta)) == (3, 4)
    cached = {"usage": {"input_tokens": 1, "cache_read_input_tokens": 5, "output_tokens": 0}}
    assert wire.usage_of(cached) == (6, 0)
    assert wire.usage_of({"usage": None}) is wire.usage_of([]) is None


@given(values)
def test_any_value_is_a_message_or_refused(value: object) -> None:
    for candidate in (
        value,
        {"jsonrpc": "2.0", "id": value, "method": "x"},
        {"jsonrpc": "2.0", "method": value},
    ):
        try:
            message = rpc.parse_message(candidate)
        except rpc.Malformed:
            continue
        assert message.kind in ("request", "notification", "response")


def test_meta_is_never_recorded_and_progress_never_forwarded() -> None:
    params: dict[str, object] = {"name": "t", "_meta": {"progressToken": 1, "mine": 2}}
    assert rpc.recorded_params(params) == {"name": "t"}
    assert rpc.forwarded_params(params) == {"name": "t", "_meta": {"mine": 2}}
    assert rpc.forwarded_params({"_meta": {"progressToken": 1}}) == {}
