"""Live MCP servers: one catalog of all that start, calls to their tools, and their state put back between candidates.

A server that can't start, dies, hangs or lies takes nothing but its own tools away. What each of them came to is in
`Servers.health`.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from workflows.calling import ModelRequest, Outcome, ToolRequest
from workflows.catalog import Catalog, ToolSpec, catalog
from workflows.servers.connection import Connection, ServerHealth
from workflows.servers.file import ServersFile
from workflows.servers.link import Limits
from workflows.servers.schema_cache import SchemaCache
from workflows.servers.state_copies import StateCopies

Model = Callable[[ModelRequest], Awaitable[Outcome]]
DEFAULT_LIMITS = Limits()


class Servers:
    """An async context manager, entered once. Entering copies the servers' state, and raises StateError when it can't; the
    servers themselves start when they are first needed, all at once. At the end they are stopped, their state is as they
    left it, and the copies are gone."""

    def __init__(
        self, file: ServersFile, *, limits: Limits = DEFAULT_LIMITS, cache: Path | None = None
    ) -> None:
        """`cache`: where listings and learnt types are remembered; see `schema_cache`."""
        self._file = file
        self._cache = SchemaCache(cache)
        self._connections = {
            name: Connection(name, entry, limits, self._cache.of(name, entry), self._cache.save)
            for name, entry in file.servers.items()
        }
        self._folder: Path | None = None
        self._copies: StateCopies | None = None

    async def __aenter__(self) -> Self:
        paths = [path for entry in self._file.servers.values() for path in entry.state or ()]
        self._folder = Path(tempfile.mkdtemp(prefix="servers-state-"))
        try:
            self._copies = await asyncio.to_thread(StateCopies, paths, self._folder)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(*(connection.close() for connection in self._connections.values()))
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    async def catalog(self) -> Catalog:
        """The tools of all servers that tell theirs. A server is asked once, and again when it has said that they changed;
        one that fails is missing, is not tried again for a catalog, and is named in `health`."""
        listings = await asyncio.gather(*(one.listing() for one in self._connections.values()))
        learnt = {key: schema for one in self._connections.values() for key, schema in one.learnt.items()}
        specs = (spec for listing in listings for spec in listing)
        return catalog(specs, self._file.as_contracts()).with_learnt(learnt)

    def health(self) -> tuple[ServerHealth, ...]:
        """By name."""
        return tuple(connection.health() for connection in self._connections.values())

    def caller(self, *, model: Model | None = None) -> "ServersCaller":
        """`model` answers the questions of model steps."""
        return ServersCaller(self, model)

    async def call(self, tool: str, arguments: dict[str, object]) -> Outcome:
        """`server/tool`. A server that is gone is started again, `Limits.restarts` times without an answered call."""
        server, _, name = tool.partition("/")
        connection = self._connections.get(server)
        if connection is None:
            return Outcome(None, f"there is no server {server!r}")
        return await connection.call(name, arguments)

    def spec(self, tool: str) -> ToolSpec | None:
        """As its server last told."""
        server, _, name = tool.partition("/")
        connection = self._connections.get(server)
        return connection.spec(name) if connection is not None else None

    async def reset(self) -> None:
        """Servers with `state` are stopped, their files and folders are as they were when this was entered, and they run
        again. Calls to them that are under way are lost. Raises StateError when something can't be put back: then nothing
        that is done with these servers counts any more."""
        stateful = [connection for connection in self._connections.values() if connection.stateful]
        await asyncio.gather(*(connection.close() for connection in stateful))
        async with AsyncExitStack() as stack:
            for connection in stateful:
                await stack.enter_async_context(connection.stopped())
            if self._copies is not None:
                await asyncio.to_thread(self._copies.put_back)
        await asyncio.gather(*(connection.listing() for connection in stateful))


class ServersCaller:
    """A `workflows.calling.Caller`."""

    def __init__(self, servers: Servers, model: Model | None) -> None:
        self._servers, self._model = servers, model

    async def tool(self, request: ToolRequest) -> Outcome:
        return await self._servers.call(request.tool, request.arguments)

    async def model(self, request: ModelRequest) -> Outcome:
        if self._model is None:
            return Outcome(None, "there is no model to ask")
        return await self._model(request)

    def repeatable(self, tool: str) -> bool:
        """What the server, or the servers file in its place, says; nothing that is not known may be repeated."""
        spec = self._servers.spec(tool)
        return spec is not None and (spec.effect == "read" or spec.idempotent)
