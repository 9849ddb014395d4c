"""Real MCP servers in one catalog: called, killed, put back, remembered, and driven by a workflow."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp_servers import SERVERS, environment

from workflows.check import check
from workflows.codec import from_json
from workflows.engine import run
from workflows.servers import Servers
from workflows.servers.connection import ServerHealth
from workflows.servers.file import ServersFile, read_servers
from workflows.servers.schema_cache import cached_catalog
from workflows.tool_search import search

GUARD = 180
"""Seconds until a test that hangs fails."""
REAL = ("everything", "filesystem", "git", "memory", "sqlite", "thinking", "time")


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def guarded() -> None:
        async with asyncio.timeout(GUARD):
            await scene()

    asyncio.run(guarded())


def file(home: Path, *names: str) -> ServersFile:
    """Of these servers, whose state is below `home`."""
    node, own = dict(environment()), Path(sys.executable).parent
    entries: dict[str, Any] = {
        "everything": _npm("everything", node),
        "filesystem": {**_npm("filesystem", node), "args": ["files"], "state": ["files"]},
        "git": {"command": f"{own}/mcp-server-git", "state": ["repository"]},
        "memory": {
            **_npm("memory", {**node, "MEMORY_FILE_PATH": f"{home}/memory.json"}),
            "state": ["memory.json"],
        },
        "sqlite": {
            "command": str(SERVERS["sqlite"].path),
            "args": ["--db-path", "shop.db"],
            "state": ["shop.db"],
            "tools": {"read_query": {"effect": "read"}},
        },
        "thinking": _npm("sequential-thinking", node),
        "time": {"command": f"{own}/mcp-server-time", "args": ["--local-timezone", "UTC"]},
    }
    (home / "files").mkdir(exist_ok=True)
    (home / "files/kept.txt").write_text("kept")
    if not (home / "repository").exists():
        subprocess.run(["git", "init", "-q", str(home / "repository")], check=True)
    missing = [name for name in names if name in SERVERS and not SERVERS[name].installed]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make mcp-servers)")
    return read_servers(
        {"mcpServers": {name: entries[name] for name in names}}, home / "servers.json", os.environ
    )


def _npm(name: str, env: dict[str, str]) -> dict[str, Any]:
    return {"command": str(SERVERS[name].path), "env": env}


async def value(world: Servers, tool: str, **arguments: object) -> Any:
    outcome = await world.call(tool, arguments)
    assert outcome.error is None, outcome
    return outcome.value


def health(world: Servers, name: str) -> ServerHealth:
    return next(found for found in world.health() if found.name == name)


def test_one_catalog_of_all_and_a_call_to_each(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Servers(file(tmp_path, *REAL)) as world:
            catalog = await world.catalog()
            assert len(catalog) >= 50
            assert [(found.name, found.state, found.error) for found in world.health()] == [
                (name, "ready", None) for name in REAL
            ]
            assert {found.protocol for found in world.health()} == {"2025-11-25", "2026-07-28"}
            assert await value(world, "everything/echo", message="hi") == "Echo: hi"
            assert await value(world, "filesystem/read_text_file", path="kept.txt") == {"content": "kept"}
            assert "No commits yet" in await value(
                world, "git/git_status", repo_path=str(tmp_path / "repository")
            )
            assert await value(world, "memory/read_graph") == {"entities": [], "relations": []}
            assert await value(world, "sqlite/list_tables") == []
            thought = {"thought": "x", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
            assert (await value(world, "thinking/sequentialthinking", **thought))["thoughtHistoryLength"] == 1
            assert (await value(world, "time/get_current_time", timezone="Europe/Berlin"))[
                "timezone"
            ] == "Europe/Berlin"
            asked = {
                "what is the current time in a timezone": "time/get_current_time",
                "write text to a file": "filesystem/write_file",
                "commit staged changes to the repository": "git/git_commit",
                "run a SELECT query": "sqlite/read_query",
                "add observations to an entity of the knowledge graph": "memory/add_observations",
            }
            assert {words: search(catalog, words, 1)[0].key for words in asked} == asked

    play(scene)


@pytest.mark.parametrize(
    ("tool", "arguments", "error"),
    [
        ("sqlite/read_query", {"query": "select * from nowhere"}, "Database error: no such table: nowhere"),
        (
            "sqlite/read_query",
            {"query": "drop table x"},
            "Error: Only SELECT queries are allowed for read_query",
        ),
        ("filesystem/read_text_file", {"path": "/etc/passwd"}, "Access denied"),
        ("filesystem/read_text_file", {"path": 3}, "MCP error -32602"),
    ],
)
def test_what_real_servers_say_of_their_failures(
    tmp_path: Path, tool: str, arguments: dict[str, object], error: str
) -> None:
    async def scene() -> None:
        server = tool.partition("/")[0]
        async with Servers(file(tmp_path, server)) as world:
            outcome = await world.call(tool, arguments)
            assert str(outcome.error).startswith(f"{server}: {error}")
            assert not outcome.uncertain

    play(scene)


def test_state_is_put_back_between_candidates(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table orders(id)")
        database.execute("insert into orders values (1)")
    database.close()

    async def scene() -> None:
        async with Servers(file(tmp_path, "filesystem", "memory", "sqlite", "time")) as world:
            await world.catalog()
            before = {found.name: found.pid for found in world.health()}
            for _ in range(2):
                assert await value(world, "sqlite/read_query", query="select * from orders") == "[{'id': 1}]"
                assert await value(world, "memory/read_graph") == {"entities": [], "relations": []}
                assert (await value(world, "filesystem/list_directory", path="."))[
                    "content"
                ] == "[FILE] kept.txt"
                await value(world, "sqlite/write_query", query="delete from orders")
                entity = {"name": "a", "entityType": "b", "observations": ["c"]}
                await value(world, "memory/create_entities", entities=[entity])
                await value(world, "filesystem/write_file", path="kept.txt", content="changed")
                await value(world, "filesystem/create_directory", path="new")
                await world.reset()
                assert (tmp_path / "files/kept.txt").read_text() == "kept"
                assert not (tmp_path / "memory.json").exists()
            after = {found.name: (found.state, found.pid == before[found.name]) for found in world.health()}
            again = ("ready", False)
            assert after == {"filesystem": again, "memory": again, "sqlite": again, "time": ("ready", True)}

    play(scene)


def test_killed_in_the_middle_of_a_call(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Servers(file(tmp_path, "everything", "time")) as world:
            await world.catalog()
            operation = {"duration": GUARD, "steps": 1}
            call = asyncio.create_task(world.call("everything/trigger-long-running-operation", operation))
            assert (
                await value(world, "everything/echo", message="hi") == "Echo: hi"
            )  # it has read the other call, too
            pid = health(world, "everything").pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            outcome = await call
            assert outcome.uncertain
            assert "it was killed by SIGKILL" in str(outcome.error)
            assert health(world, "everything").state == "stopped"
            assert (await value(world, "time/get_current_time", timezone="UTC"))["timezone"] == "UTC"
            assert await value(world, "everything/echo", message="again") == "Echo: again"
            assert health(world, "everything").pid != pid

    play(scene)


def test_what_was_learnt_is_known_without_a_server(tmp_path: Path) -> None:
    servers, cache = file(tmp_path, "git", "time"), tmp_path / "cache/schemas.json"
    repository = str(tmp_path / "repository")

    async def scene() -> None:
        async with Servers(servers, cache=cache) as world:
            assert (await world.catalog()).output("git/git_status") == {}
            await value(world, "git/git_status", repo_path=repository)
            assert (await world.catalog()).output("git/git_status") == {"type": "string"}

    play(scene)
    found, missing = cached_catalog(servers, cache)
    assert (found.output("git/git_status"), missing) == ({"type": "string"}, ())

    async def again() -> None:
        async with Servers(servers, cache=cache) as world:
            assert await world.catalog() == found

    play(again)


def test_a_workflow_runs_on_them(tmp_path: Path) -> None:
    def arguments(**given: object) -> dict[str, object]:
        return {
            name: {"ref": given[name][1:]} if str(given[name]).startswith("$") else {"value": given[name]}  # type: ignore[index]
            for name in given
        }

    write = arguments(path="note.txt", content="$inputs.text")
    steps = [
        {"id": "write", "kind": "tool", "tool": "filesystem/write_file", "arguments": write},
        {
            "id": "read",
            "kind": "tool",
            "tool": "filesystem/read_text_file",
            "arguments": arguments(path="note.txt"),
            "after": ["write"],
        },
        {
            "id": "say",
            "kind": "tool",
            "tool": "everything/echo",
            "arguments": arguments(message="$read.content"),
        },
        {"id": "out", "kind": "output", "text": "{said}", "values": arguments(said="$say")},
    ]
    table = {
        "v": 1,
        "name": "note",
        "description": "d",
        "inputs": {"text": {"type": "string"}},
        "nodes": steps,
    }
    workflow = from_json(table)

    async def scene() -> None:
        async with Servers(file(tmp_path, "everything", "filesystem")) as world:
            assert check(workflow, await world.catalog()) == ()
            result = await run(workflow, {"text": "hello"}, world.caller())
            assert result.text == "Echo: hello"

    play(scene)
