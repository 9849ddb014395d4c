"""Replays of the tiny substrate in real sandboxes: what is reproduced, what is data, what broke the arena."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from trial_support import answered, build, case, job, text_of, tiny_tree, turn

from containers.bubblewrap import BubblewrapInstance, BubblewrapRuntime
from containers.engine import get_runtime
from containers.runtime import ImageRef
from evidence.cases import HeldOutCase
from trial.arena import Arena, Played
from trial.gateway import GatewayConfig, Upstream
from trial.hand_on import keep
from trial.inflight import ASKED_EACH
from trial.plan import Inherited
from trial.replay import Replay, ReplayLimits


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("h")


@pytest.fixture(scope="module")
def runtime(home: Path) -> BubblewrapRuntime:
    return get_runtime("bubblewrap", home)


@pytest.fixture(scope="module")
def image(runtime: BubblewrapRuntime, home: Path) -> ImageRef:
    return build(runtime, tiny_tree(home / "tree"))[0]


@pytest.fixture(scope="module")
def arena(runtime: BubblewrapRuntime, home: Path, image: ImageRef) -> Iterator[Arena]:
    _, manifest = build(runtime, home / "tree")
    limits = ReplayLimits(turn_seconds=2.0, case_seconds=3.0)
    upstream = Upstream(base_url="http://127.0.0.1:9")
    config = GatewayConfig(socket=home / "unused", mode="live", upstream=upstream)
    with Arena(
        runtime,
        manifest,
        workdir=home / "arena",
        gateway_config=config,
        tool_servers=("git", "time"),
        workers=1,
        model_name="default",
        retries=1,
        replay_limits=limits,
    ) as made:
        yield made
    assert runtime.find({}) == []


def play(arena: Arena, image: ImageRef, one: HeldOutCase, coverage: bool = False) -> Replay:
    """One replay; the exported events are read while they are there."""
    (played,) = arena.play([job(one, image)], lambda _, replay: replay, coverage=coverage)
    assert played.value is not None, played.broken
    return played.value


def test_a_prelude_is_played_first_and_nothing_stays(arena: Arena, image: ImageRef) -> None:
    replay = play(arena, image, case("recall", "remember one", "remember two"))
    assert text_of(replay) == "one, two"
    assert [one.status for one in replay.turns] == [200, 200, 200]
    assert replay.turn.headers["x-session"] == "s"
    assert isinstance(replay.turn.reply, dict)
    assert replay.turn.reply["created"] == 1_700_000_000, "the turn's clock is the recorded one"
    kinds = [event["kind"] for event in replay.events]
    assert kinds == ["process_started", *["turn_started", "turn_ended"] * 3]
    assert text_of(play(arena, image, case("recall"))) == "nothing"


def test_a_replay_begins_with_what_another_left(arena: Arena, image: ImageRef, tmp_path: Path) -> None:
    writes = replace(job(case("remember two", "remember one"), image), hands_on=True)
    (left,) = [
        played.value for played in arena.play([writes], lambda _, replay: keep(replay, tmp_path / "left"))
    ]
    assert left is not None
    for migrates in (True, False):
        reads = replace(job(case("recall"), image), inherits=Inherited(left.files, migrates))
        recall = reads.case.model_copy(update={"turn": turn("recall", number=7)})
        (played,) = arena.play([replace(reads, case=recall)], lambda _, replay: replay)
        assert played.value is not None, played.broken
        assert text_of(played.value) == "one, two"
        assert [event["kind"] for event in played.value.events].count("process_stopped") == 1, (
            "it was asked to end"
        )
    assert text_of(play(arena, image, case("recall"))) == "nothing"


def test_side_by_side_a_turn_that_stands_there_twice_is_held_and_sent_at_once(
    arena: Arena, image: ImageRef
) -> None:
    twice = turn("upper a", number=1, session="a")
    several = case("x").model_copy(
        update={"prelude": (twice, twice, turn("upper b", 2, "b")), "turn": turn("upper c", 3, "a")}
    )
    (played,) = arena.play([replace(job(several, image), at_once=2)], lambda _, replay: replay)
    replay = played.value
    assert replay is not None, played.broken
    assert [one.request_id for one in replay.turns] == ["r1-a", "r1-a", "r2-b", "r3-a"]
    assert [one.status for one in replay.turns] == [200] * 4
    assert replay.turns[0].reply == replay.turns[1].reply
    begun = [event["turn"] for event in replay.events if event["kind"] == "turn_started"]
    assert begun.count("r1-a") == 1
    assert replay.inflight.asked >= ASKED_EACH
    assert replay.inflight.share > 0.5


def test_a_streamed_body_comes_back_as_its_frames(arena: Arena, image: ImageRef) -> None:
    streamed = case("x").model_copy(update={"turn": turn("echo hi", stream=True)})
    frames = play(arena, image, streamed).turn.reply
    assert isinstance(frames, list)
    assert frames[0]["choices"][0]["delta"]["content"] == "hi"
    assert frames[-1] == "[DONE]"


def test_the_environment_is_production_s(arena: Arena, image: ImageRef) -> None:
    names = ("TOOL_SERVERS", "MODEL_NAME", "IMAGE_DIGEST")
    values = [text_of(play(arena, image, case(f"env {name}"))) for name in names]
    assert values == ["git,time", "default", image.digest]
    assert int(text_of(play(arena, image, case("env INSTANCE_EPOCH")))) > 0
    nonce = text_of(play(arena, image, case("env BOOT_NONCE")))
    assert len(nonce) == 32
    assert nonce == text_of(play(arena, image, case("env BOOT_NONCE"))), "the same seed, the same nonce"


@pytest.mark.parametrize("slow_first", [True, False])
def test_answers_arrive_in_recorded_order_and_not_before_their_time(
    arena: Arena, image: ImageRef, slow_first: bool
) -> None:
    if slow_first:  # the first call was overtaken
        calls = answered("a", 0, 3, latency=0.5), answered("b", 1, 2, latency=0.01)
    else:  # the second call waits for the first although its own latency is over
        calls = answered("a", 0, 2, latency=0.5), answered("b", 1, 3, latency=0.01)
    replay = play(arena, image, case("both a b", calls=calls))
    assert text_of(replay) == ("b a" if slow_first else "a b")
    assert [call.request for call in replay.calls] == [call.request for call in calls]
    assert replay.calls[0].latency >= 0.5
    assert replay.misses == ()


def test_what_was_never_recorded_follows_the_policy(arena: Arena, image: ImageRef) -> None:
    calls = (answered("what time is it", 0, 1),)
    one = case("ask what time is it now", calls=calls, on_model_miss="fail")
    failed = play(arena, image, one)
    assert "502" in text_of(failed)
    assert failed.misses == ("model /v1/chat/completions: fail",)
    nearest = play(arena, image, one.model_copy(update={"on_model_miss": "nearest"}))
    assert text_of(nearest) == "what time is it"


def test_an_unreachable_upstream_is_a_broken_arena(arena: Arena, image: ImageRef) -> None:
    (played,) = arena.play([job(case("ask anything", on_model_miss="live"), image)], lambda _, replay: replay)
    assert played.value is None
    assert "model upstream" in played.broken


def test_a_dying_service_is_data(arena: Arena, image: ImageRef) -> None:
    replay = play(arena, image, case("echo after", "remember x", "die 7"))
    assert [one.status for one in replay.turns] == [200, None, None]
    assert "no whole answer" in replay.turn.error
    assert [event["kind"] for event in replay.events].count("turn_ended") == 1


def test_a_hanging_turn_ends_and_so_does_a_case(arena: Arena, image: ImageRef) -> None:
    replay = play(arena, image, case("echo late", *["sleep 30"] * 4))
    assert [one.status for one in replay.turns] == [None] * 5
    assert replay.turns[0].error == "no whole answer within 2 s"
    assert "the case ran out of its 3 s" in replay.turn.error


def test_a_call_that_nobody_waited_for_is_in_the_log(arena: Arena, image: ImageRef) -> None:
    replay = play(arena, image, case("alone a", calls=(answered("a", 0, 1, latency=30.0),)))
    assert text_of(replay) == "asked"
    assert [call.status for call in replay.calls] == [499]


def test_too_much_state_fails_the_case_not_the_arena(arena: Arena, image: ImageRef) -> None:
    replay = play(arena, image, case(f"fill {80 << 20}"))
    assert replay.turn.status is None
    assert "larger than what may be exported" in replay.turn.error


def test_coverage_names_the_lines_of_the_tree(arena: Arena, image: ImageRef, home: Path) -> None:
    source = (home / "tree" / "service" / "turns.py").read_text().splitlines()
    line = next(i for i, text in enumerate(source, 1) if "return str(max(" in text)
    for text, hit in (("largest 3 4", True), ("echo hi", False)):
        covered = play(arena, image, case(text), coverage=True).coverage
        assert covered is not None
        assert (line in covered["service/turns.py"]) is hit


def test_a_service_that_never_starts_is_data(runtime: BubblewrapRuntime, home: Path) -> None:
    tree = tiny_tree(
        home / "broken",
        (
            "class BadRequest(ValueError):",
            "raise SystemExit('no such luck')\n\nclass BadRequest(ValueError):",
        ),
    )
    image, manifest = build(runtime, tree)
    with Arena(runtime, manifest, workdir=home / "b", workers=1, retries=0) as arena:
        replay = play(arena, image, case("echo x"))
        assert "did not start" in replay.turn.error
        assert "no such luck" in replay.died


def test_a_killed_sandbox_is_replaced(runtime: BubblewrapRuntime, arena: Arena, image: ImageRef) -> None:
    seen: list[Played[str]] = []

    def use(_: object, replay: Replay) -> str:
        if not seen:
            for instance in runtime.find({}):
                assert isinstance(instance, BubblewrapInstance)
                os.kill(instance.record.init.pid, signal.SIGKILL)
        return text_of(replay)

    for played in arena.play([job(case(f"echo {i}"), image) for i in range(6)], use):
        seen.append(played)
    assert [one.value for one in seen] == [str(i) for i in range(6)]


def test_a_log_line_is_what_the_replay_needs(arena: Arena, image: ImageRef) -> None:
    """Round trip: what the gateway logs in one replay serves as the next one's cassette."""
    first = play(arena, image, case("both a b", calls=(answered("a", 0, 1), answered("b", 2, 3))))
    again = json.loads(json.dumps([call.model_dump(mode="json") for call in first.calls]))
    one = case("both a b", cassette={"calls": again}, on_model_miss="fail")
    second = play(arena, image, HeldOutCase.model_validate(one.model_dump()))
    assert text_of(second) == text_of(first)
    assert second.misses == ()
