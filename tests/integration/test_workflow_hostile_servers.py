"""A server that dies, hangs, lies, floods or never ends takes nothing away but its own tools."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from workflows.calling import Outcome, ToolRequest
from workflows.servers import Servers
from workflows.servers.file import read_servers
from workflows.servers.link import Limits

SCRIPT = Path(__file__).with_name("hostile_mcp.py")
QUICK = Limits(start_seconds=20, call_seconds=20)
IMPATIENT = Limits(start_seconds=20, call_seconds=3)
GUARD = 120
"""Seconds until a test that hangs fails."""


def servers(
    *ways: str, limits: Limits = QUICK, extra: str = "", protocol: str = "legacy", **more: object
) -> Servers:
    entry = {"command": sys.executable, "protocol": protocol, **more}
    table = {way: {**entry, "args": ["-I", str(SCRIPT), way, extra]} for way in ways}
    return Servers(read_servers({"mcpServers": table}, SCRIPT, os.environ), limits=limits)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def guarded() -> None:
        async with asyncio.timeout(GUARD):
            await scene()

    asyncio.run(guarded())


async def act(world: Servers, way: str) -> Outcome:
    return await world.call(f"{way}/act", {})


async def echo(world: Servers, way: str) -> Outcome:
    return await world.call(f"{way}/echo", {"text": "hello"})


@pytest.mark.parametrize(
    ("way", "error"),
    [
        ("dies_at_start", "it ended with 1; stderr: there is no such thing as a free lunch"),
        ("hangs_at_start", "it did not start within 5 s"),
        ("broken_listing", "its answer to tools/list is broken: tools.0.inputSchema"),
        ("endless_pages", "tools/list goes on after 100 pages"),
        ("circling_pages", "tools/list goes in circles at again"),
    ],
)
def test_a_server_that_can_not_be_used_is_missing_and_named(way: str, error: str) -> None:
    async def scene() -> None:
        async with servers("good", way, limits=Limits(5 if way == "hangs_at_start" else 20)) as world:
            assert [spec.key for spec in await world.catalog()] == ["good/act", "good/echo"]
            bad, good = sorted(world.health(), key=lambda health: health.state)
            assert (bad.name, bad.state, good.state) == (way, "failed", "ready")
            assert bad.error is not None
            assert bad.error.startswith(error)
            assert (await echo(world, "good")).value == "hello"
            outcome = await act(world, way)
            assert not outcome.uncertain
            assert outcome.error is not None
            assert outcome.error.startswith(f"{way}: {error}")

    play(scene)


def test_a_server_that_dies_of_the_new_protocol_is_asked_for_the_old_one() -> None:
    async def scene() -> None:
        async with servers("dies_of_the_new_protocol", protocol="auto") as world:
            assert len(await world.catalog()) == 2
            assert world.health()[0].protocol == "2025-11-25"

    play(scene)


def test_a_dead_server_is_started_again_by_the_next_call_so_often_and_no_more() -> None:
    async def scene() -> None:
        way = "dies_in_a_call"
        async with servers("good", way, limits=Limits(restarts=2)) as world:
            assert len(await world.catalog()) == 4
            for _ in range(2):
                outcome = await act(world, way)
                assert outcome.uncertain
                assert outcome.error is not None
                assert outcome.error.startswith(f"{way}: Connection closed: it ended with 7; stderr: ")
                assert outcome.error.endswith("the end")
                assert outcome.error.isprintable()
                assert world.health()[0].state == "stopped"
            assert (await echo(world, way)).value == "hello"  # an answered call gives the starts back
            for _ in range(3):
                assert (await act(world, way)).uncertain
            outcome = await act(world, way)
            assert outcome == Outcome(None, outcome.error)
            assert "is left" in str(outcome.error)
            assert len(await world.catalog()) == 2
            assert (await echo(world, "good")).value == "hello"

    play(scene)


@pytest.mark.parametrize("way", ["hangs_in_a_call", "stops_reading"])
def test_a_call_that_hangs_is_uncertain_and_a_server_that_hears_nothing_is_replaced(way: str) -> None:
    async def scene() -> None:
        async with servers("good", way, limits=IMPATIENT) as world:
            await world.catalog()
            before = world.health()[1].pid
            hung, other = await asyncio.gather(act(world, way), echo(world, "good"))
            assert (hung.value, hung.uncertain, other.value) == (None, True, "hello")
            assert str(hung.error).startswith(f"{way}: no answer within 3 s: it answered nothing for 3 s")
            assert (await echo(world, way)).value == "hello"
            assert world.health()[1].pid != before

    play(scene)


def test_a_slow_call_does_not_end_a_server_that_answers_others_meanwhile() -> None:
    async def scene() -> None:
        way = "hangs_in_a_call"
        async with servers(way, limits=Limits(call_seconds=4)) as world:
            await world.catalog()
            before = world.health()[0].pid
            hung = asyncio.create_task(act(world, way))
            await asyncio.sleep(0.1)
            assert (await echo(world, way)).value == "hello"
            assert (await hung).uncertain
            assert (await echo(world, way)).value == "hello"
            assert world.health()[0].pid == before

    play(scene)


def test_killed_in_the_middle_of_a_call() -> None:
    async def scene() -> None:
        way = "hangs_in_a_call"
        async with servers(way) as world:
            await world.catalog()
            call = asyncio.create_task(act(world, way))
            await asyncio.sleep(0.2)
            pid = world.health()[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            outcome = await call
            assert outcome == Outcome(
                None, f"{way}: Connection closed: it was killed by SIGKILL", uncertain=True
            )
            assert (await echo(world, way)).value == "hello"

    play(scene)


@pytest.mark.parametrize(
    ("way", "error"),
    [
        (
            "output_lies",
            "its result is not of the type that the tool declares: x: 'no integer' is not of type 'integer'",
        ),
        ("large", "its result has 10000"),
        ("endless_line", "Connection closed: it sent a line of more than 16777216 bytes"),
        ("broken_answer", "its answer is no JSON-RPC response"),
        ("broken_result", "its result is none of tools/call: content"),
        ("cut_answer", "Connection closed: it ended with 0"),
    ],
)
def test_what_can_not_be_used_is_no_result_and_may_have_been_done(way: str, error: str) -> None:
    async def scene() -> None:
        async with servers("good", way) as world:
            await world.catalog()
            outcome = await act(world, way)
            assert outcome.uncertain
            assert str(outcome.error).startswith(f"{way}: {error}")
            assert [(await echo(world, name)).value for name in ("good", way)] == ["hello", "hello"]

    play(scene)


@pytest.mark.parametrize(
    ("way", "note"),
    [
        (
            "input_is_no_schema",
            "act: its input schema is none: 'banana' is not valid under any of the given schemas",
        ),
        (
            "output_is_no_schema",
            "act: its output schema is none: 'banana' is not valid under any of the given schemas",
        ),
    ],
)
def test_a_schema_that_is_none_is_noted_and_the_tool_still_works(way: str, note: str) -> None:
    async def scene() -> None:
        async with servers(way) as world:
            catalog = await world.catalog()
            assert world.health()[0].notes == (note,)
            assert catalog.output(f"{way}/act") == {}
            assert (await act(world, way)).error is None

    play(scene)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by which jsonschema tells of what it then does
def test_a_type_that_names_a_file_of_ours_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"not": {}}')

    async def scene() -> None:
        way = "output_reads_a_file"
        async with servers(way, extra=str(tmp_path / "schema.json")) as world:
            await world.catalog()
            assert "the type can't be read" in str((await act(world, way)).error)

    play(scene)


def test_a_changed_catalog_is_asked_for_again_and_only_then() -> None:
    async def scene() -> None:
        async with servers("grows", "good") as world:
            for _ in range(3):
                assert "grows/new" not in (await world.catalog()).tools
            assert (await act(world, "grows")).value == "grown, asked 1 times"
            outcome = await world.call("grows/new", {"text": "hello"})
            assert outcome == Outcome("hello")
            assert "grows/new" in (await world.catalog()).tools

    play(scene)


def test_floods_garbage_and_questions_do_not_reach_anyone() -> None:
    async def scene() -> None:
        ways = ("floods", "garbage", "asks_back", "asks_for_a_model")
        async with servers("good", *ways) as world:
            assert len(await world.catalog()) == 10
            for way in ways:
                outcome = await act(world, way)
                assert outcome.error is None, way
                assert (await echo(world, way)).value == "hello", way
            assert (await echo(world, "good")).value == "hello"

    play(scene)


def test_a_server_knows_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    async def scene() -> None:
        async with servers("environment", env={"GIVEN": "x"}) as world:
            await world.catalog()
            found = (await act(world, "environment")).value
            allowed = {
                "HOME",
                "LOGNAME",
                "PATH",
                "SHELL",
                "TERM",
                "USER",
                "GIVEN",
                "LC_CTYPE",
                "PWD",
                "SHLVL",
            }
            assert isinstance(found, dict)
            assert found.keys() <= allowed
            assert found["GIVEN"] == "x"

    play(scene)


def test_a_server_leaves_nothing_behind() -> None:
    async def scene() -> None:
        async with servers("leaves_a_child") as world:
            await world.catalog()
            found = (await act(world, "leaves_a_child")).value
            pids = (found["pid"], world.health()[0].pid)  # type: ignore[index]
            assert all(alive(pid) for pid in pids)
        while any(alive(pid) for pid in pids):  # noqa: ASYNC110 - killed, and perhaps not gone yet
            await asyncio.sleep(0.01)

    play(scene)


def test_cancelled_in_the_middle_of_a_start_nothing_is_left_behind() -> None:
    async def scene() -> None:
        async with servers("hangs_at_start") as world:
            task = asyncio.create_task(world.catalog())
            while (pid := world.health()[0].pid) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert not alive(pid)

    play(scene)


def test_the_caller_repeats_only_what_may_be_repeated() -> None:
    async def scene() -> None:
        world = servers("good", tools={"echo": {"effect": "read"}, "acct": {"idempotent": True}})
        async with world:
            await world.catalog()
            caller = world.caller()
            assert [caller.repeatable(f"good/{name}") for name in ("echo", "act", "nothing")] == [
                True,
                False,
                False,
            ]
            assert world.health()[0].notes == ("tools.acct: the server has no such tool",)
            outcome = await caller.tool(
                ToolRequest("n", "", 1, "good/echo", {"text": json.dumps({"ok": False})})
            )
            assert outcome.error == 'good: {"ok": false}'

    play(scene)
