"""One MCP server over all its lives: started when it is needed, asked for its tools, called, and started again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jsonschema.protocols import Validator
from mcp.client import Client

from workflows.calling import Outcome
from workflows.catalog import ToolSpec, read_listing
from workflows.results import FAILURES_OF
from workflows.schemas import validator
from workflows.servers.exchange import Exchange, exchange, judged
from workflows.servers.file import ServerEntry
from workflows.servers.link import Limits, Link, ServerDown
from workflows.servers.listing import ask_for_tools, relied_on
from workflows.servers.schema_cache import Remembered
from workflows.types import Schema

State = Literal["ready", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class ServerHealth:
    name: str
    state: State
    """`failed`: it did not start, or not tell its tools; `stopped`: it was not needed yet, or it is gone."""
    protocol: str | None = None
    server_name: str | None = None
    """As it calls itself."""
    server_version: str | None = None
    tools: int = 0
    seconds_to_start: float | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What is odd about its tools, and can be lived with."""
    pid: int | None = None


class _Facts(NamedTuple):
    protocol: str
    name: str | None
    version: str | None
    seconds: float


class Connection:
    def __init__(
        self, name: str, entry: ServerEntry, limits: Limits, memory: Remembered, news: Callable[[], None]
    ) -> None:
        """`news` is called when there is something new in `memory`."""
        self.name, self._entry, self._limits = name, entry, limits
        self._memory, self._news = memory, news
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._left = limits.restarts + 1
        """How often it may be started until it has answered a call."""
        self._facts: _Facts | None = None
        self._tools: dict[str, ToolSpec] = {}
        self._validators: dict[str, Validator] = {}
        self._stale = True
        self._error: str | None = None
        self._notes: tuple[str, ...] = ()
        self._answered = 0

    @property
    def stateful(self) -> bool:
        return self._entry.state is not None

    @property
    def learnt(self) -> dict[str, Schema]:
        return {f"{self.name}/{tool}": schema for tool, schema in self._memory.learnt.items()}

    def spec(self, tool: str) -> ToolSpec | None:
        """As it was last told."""
        return self._tools.get(tool)

    def health(self) -> ServerHealth:
        link, facts = self._link, self._facts
        gone = link is not None and link.over
        state: State = "failed" if self._error else "stopped" if link is None or gone else "ready"
        protocol, name, version, seconds = facts or (None, None, None, None)
        error = self._error or (link.reason or None if link is not None and gone else None)
        pid = link.pid if link is not None else None
        return ServerHealth(
            self.name, state, protocol, name, version, len(self._tools), seconds, error, self._notes, pid
        )

    async def listing(self) -> list[ToolSpec]:
        """Its tools, asked for only when they may have changed. Empty when it fails, and it is not started again for
        this: `health` says why."""
        if self._error is None and self._stale:
            try:
                await self._ready()
            except ServerDown:
                return []
        return list(self._tools.values()) if self._error is None else []

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Outcome:
        """Starts it again if it is gone. Raises nothing but what cancels it."""
        outcome = Outcome(None)
        for _ in range(2):
            try:
                link, client = await self._ready()
            except ServerDown as error:
                return Outcome(None, f"{self.name}: {error}")
            spec = self._tools.get(tool)
            if spec is None:
                return Outcome(None, f"there is no tool {self.name}/{tool}")
            outcome, end = await self._exchange(link, client, spec, arguments)
            if end != "forgotten":
                break
            link.give_up("it has forgotten the session")
        return outcome if outcome.error is None else outcome._replace(error=f"{self.name}: {outcome.error}")

    async def _exchange(
        self, link: Link, client: Client, spec: ToolSpec, arguments: Mapping[str, object]
    ) -> Exchange:
        answered = self._answered
        found = await exchange(client, spec.name, arguments, self._limits.call_seconds)
        if not isinstance(found, Exchange):
            outcome = judged(found, spec.name, self._validator(spec), self._failures(), self._limits)
            found = Exchange(outcome, "heard")
        outcome, end = found
        if end == "heard":
            self._answered += 1
            self._left = self._limits.restarts
        elif end == "silent" and answered == self._answered:
            link.give_up(f"it answered nothing for {self._limits.call_seconds:g} s")
        if end in ("lost", "silent") and link.over and link.reason:
            return Exchange(outcome._replace(error=f"{outcome.error}: {link.reason}"), end)
        learning = outcome.error is None and spec.output_schema is None
        if learning and self._memory.learns(spec.name, outcome.value):
            self._news()
        return found

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Nobody starts it within. Afterwards it is started when it is next needed, as if it had never failed."""
        await self.close()
        async with self._opening:
            await self.close()
            self._left, self._error, self._stale = self._limits.restarts + 1, None, True
            yield

    async def _ready(self) -> tuple[Link, Client]:
        """A living link whose server's tools are known. Raises ServerDown."""
        async with self._opening:
            try:
                link = await self._living()
                began = time.monotonic()
                client = await link.client()
                if self._facts is None:
                    self._facts = _facts(client, time.monotonic() - began)
                if self._stale:
                    await self._list(client)
            except ServerDown as error:
                self._error, self._stale = str(error), True
                raise
            self._error = None
            return link, client

    async def _living(self) -> Link:
        last = self._link
        if last is not None and not last.over:
            return last
        if last is not None:
            await last.close()
            if self._left <= 0:
                raise ServerDown(f"it ended {self._limits.restarts + 1} times, and is left: {last.reason}")
        self._left -= 1
        self._stale, self._facts = True, None
        self._link = Link(self._entry, self._limits, self._changed)
        return self._link

    async def _list(self, client: Client) -> None:
        self._stale = False  # before it is asked: a change in between counts
        entries = await ask_for_tools(client, self._limits)
        specs, notes = relied_on(self._entry.corrected(read_listing(self.name, entries)))
        unknown = sorted(self._entry.tools.keys() - {spec.name for spec in specs})
        self._notes = (*notes, *(f"tools.{name}: the server has no such tool" for name in unknown))
        self._tools = {spec.name: spec for spec in specs}
        self._validators = {}
        info = client.server_info
        self._memory.lists(info.version if info else "", entries)
        self._news()

    def _changed(self) -> None:
        self._stale = True

    def _validator(self, spec: ToolSpec) -> Validator | None:
        if spec.output_schema is not None and spec.name not in self._validators:
            self._validators[spec.name] = validator(spec.output_schema)
        return self._validators.get(spec.name)

    def _failures(self) -> tuple[str, ...]:
        own = self._facts.name if self._facts else None
        return (*self._entry.failures, *FAILURES_OF.get(own or "", ()))


def _facts(client: Client, seconds: float) -> _Facts:
    info = client.server_info
    return _Facts(
        client.protocol_version, info.name if info else None, info.version if info else None, seconds
    )
