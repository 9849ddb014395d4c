"""Servers over streamable HTTP, of both protocols, and what an HTTP server can get wrong."""

import asyncio
import gzip
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workflows.servers import Servers
from workflows.servers.file import read_servers
from workflows.servers.link import Limits

GUARD = 120
SEEN: list[dict[str, str]] = []


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def guarded() -> None:
        async with asyncio.timeout(GUARD):
            await scene()

    asyncio.run(guarded())


@contextmanager
def serving(app: Starlette, port: int = 0) -> Iterator[int]:
    """In a thread; yields the port."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        config = uvicorn.Config(
            app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1, ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(GUARD)


def app() -> Starlette:
    mcp = MCPServer("http", version="3")

    @mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @mcp.tool()
    def fail() -> str:
        """Fails."""
        raise ValueError("boom")

    @mcp.tool()
    def large() -> str:
        """A lot."""
        return "x" * 2_000_000

    @mcp.tool()
    async def slow() -> str:
        """Never."""
        await asyncio.sleep(3600)
        return "late"

    @mcp.tool()
    async def grow(name: str, context: Context) -> str:
        """One tool more."""
        mcp.add_tool(fail, name=name)
        await context.notify_tools_changed()
        return "grown"

    return mcp.streamable_http_app()


def servers(port: int, protocol: str = "auto", limits: Limits = Limits(), **more: object) -> Servers:  # noqa: B008
    entry = {"url": f"http://127.0.0.1:{port}/mcp", "protocol": protocol, **more}
    return Servers(
        read_servers({"mcpServers": {"web": entry}}, Path("/servers.json"), os.environ), limits=limits
    )


@pytest.mark.parametrize(("protocol", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_both_protocols(protocol: str, version: str) -> None:
    async def scene() -> None:
        with serving(app()) as port:
            async with servers(port, protocol, Limits(call_seconds=3)) as world:
                catalog = await world.catalog()
                assert sorted(catalog.tools) == [
                    f"web/{name}" for name in ("add", "fail", "grow", "large", "slow")
                ]
                health = world.health()[0]
                assert (health.state, health.protocol, health.server_name) == ("ready", version, "http")
                assert health.server_version == "3"
                assert world.caller().repeatable("web/add")
                slow, added = await asyncio.gather(
                    world.call("web/slow", {}), world.call("web/add", {"a": 1, "b": 2})
                )
                assert (added.value, added.error) == ({"result": 3}, None)
                assert (slow.error, slow.uncertain) == ("web: no answer within 3 s", True)
                failed = await world.call("web/fail", {})
                assert not failed.uncertain
                assert "boom" in str(failed.error) or "Error executing tool fail" in str(failed.error)
                large = await world.call("web/large", {})
                assert large.uncertain
                assert "no more than 1048576 are taken" in str(large.error)
                assert (await world.call("web/add", {"a": 1, "b": 3})).value == {"result": 4}

    play(scene)


def test_a_change_is_heard_of() -> None:
    async def scene() -> None:
        with serving(app()) as port:
            async with servers(port) as world:
                await world.catalog()
                for name in ("new", "newer"):
                    assert (await world.call("web/grow", {"name": name})).value == {"result": "grown"}
                    while f"web/{name}" not in (await world.catalog()).tools:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)

    play(scene)


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
def test_a_server_that_was_started_anew_is_asked_again(protocol: str) -> None:
    async def scene() -> None:
        with serving(app()) as port:
            world = servers(port, protocol)
            await world.__aenter__()
            assert (await world.call("web/add", {"a": 1, "b": 2})).value == {"result": 3}
        gone = await world.call("web/add", {"a": 1, "b": 2})
        assert "no connection: " in str(gone.error)
        assert not gone.uncertain
        with serving(app(), port):
            assert (await world.call("web/add", {"a": 1, "b": 3})).value == {"result": 4}
            await world.__aexit__(None, None, None)

    play(scene)


def test_a_server_that_is_not_there() -> None:
    async def scene() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with servers(taken.getsockname()[1]) as world:
                assert len(await world.catalog()) == 0
                assert str(world.health()[0].error).startswith("no connection: ")

    play(scene)


def wrong(way: str) -> Starlette:
    """Behaves until a tool is called."""

    async def answer(request: Request) -> Response:
        SEEN.append(dict(request.headers))
        if request.method != "POST":
            return Response(status_code=405)
        message: dict[str, Any] = await request.json()
        method, number = message["method"], message.get("id")
        if number is None:
            return Response(status_code=202)
        if method == "initialize":
            info = {"name": "wrong", "version": "1"}
            result: Any = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        elif method == "tools/list":
            result = {
                "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("act", "echo")]
            }
        elif message["params"]["name"] == "act":
            return misbehaved(number)
        else:
            result = {"content": [{"type": "text", "text": "hello"}]}
        return JSONResponse({"jsonrpc": "2.0", "id": number, "result": result})

    def misbehaved(number: int) -> Response:
        good = json.dumps({"jsonrpc": "2.0", "id": number, "result": {"content": []}}).encode()
        error = {"jsonrpc": "2.0", "id": number, "error": {"code": -32602, "message": "no such city"}}
        return {
            "500": Response("a proxy says no", 502, media_type="text/html"),
            "403": Response("not you", 403),
            "400": JSONResponse(error, 400),
            "202": Response(status_code=202),
            "html": Response("<html>", media_type="text/html"),
            "cut": Response(good[:-3], media_type="application/json"),
            "large": Response(b"[" + b" " * 20_000_000 + b"]", media_type="application/json"),
            "gzip": Response(
                gzip.compress(good), headers={"content-encoding": "gzip"}, media_type="application/json"
            ),
            "silent_events": Response(": nothing\n\n", media_type="text/event-stream"),
            "redirect": Response(status_code=307, headers={"location": "http://127.0.0.1:1/elsewhere"}),
        }[way]

    return Starlette(routes=[Route("/mcp", answer, methods=["POST", "GET", "DELETE"])])


@pytest.mark.parametrize(
    ("way", "error", "uncertain"),
    [
        ("500", "status 502, text/html: a proxy says no", True),
        ("403", "status 403, no type: not you", False),
        ("400", "no such city", False),
        ("202", "status 202, no type:", True),
        ("html", "status 200, text/html: <html>", True),
        ("cut", "status 200, application/json: {", True),
        ("large", "its answer has more than 16777216 bytes", True),
        ("gzip", "its answer is compressed, which it was asked not to do", True),
        ("silent_events", "SSE stream ended without a response", True),
        ("redirect", "", False),
    ],
)
def test_what_an_http_server_gets_wrong_is_told_and_disturbs_no_other_call(
    way: str, error: str, uncertain: bool
) -> None:
    async def scene() -> None:
        with serving(wrong(way)) as port:
            async with servers(port, "legacy", headers={"authorization": "Bearer x"}) as world:
                assert len(await world.catalog()) == 2
                acted, echoed = await asyncio.gather(world.call("web/act", {}), world.call("web/echo", {}))
                assert (echoed.value, echoed.error) == ("hello", None)
                assert str(acted.error).startswith(f"web: {error}")
                assert acted.uncertain is uncertain
                assert (await world.call("web/echo", {})).value == "hello"
                assert {seen.get("authorization") for seen in SEEN[-3:]} == {"Bearer x"}

    play(scene)
