"""One life of a connection to an MCP server: opened, used, over. What goes wrong in it stays in it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2
from mcp.client import Client
from mcp.client._transport import Transport
from mcp.client.session import IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types import Implementation, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from workflows.servers.file import ServerEntry
from workflows.servers.http_guard import GuardedTransport
from workflows.servers.stdio import StdioTransport

logging.getLogger("mcp").addHandler(logging.NullHandler())
"""It logs what servers say, which without any handler Python would write on the terminal as it is."""
CLIENT = Implementation(name="workflows", version="1")
SHOWN = 500
"""Of an error's and of stderr's text, in a message."""
LISTEN_AGAIN = 5
"""A server may end our subscription to its changes so often before it has said that we have one."""
LISTEN_PAUSE = 1.0
LISTENING_SECONDS = 300.0
"""Of silence, after which a stream of events counts as lost."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a server is borne."""

    start_seconds: float = 30.0
    call_seconds: float = 60.0
    result_bytes: int = 1 << 20
    """Of one result, as JSON."""
    message_bytes: int = 16 << 20
    """Of one message. A server that sends a longer one is cut off in the middle of it."""
    most_tools: int = 2000
    most_pages: int = 100
    restarts: int = 5
    """Without an answered call in between. A reset gives them back."""


class ServerDown(Exception):
    """The server is not there; the message says why, in one line."""


class Link:
    """One task holds the connection, so that what `mcp` and the server do to it ends that task and no other. The link is
    over when the server is gone, or when it is given up."""

    def __init__(self, entry: ServerEntry, limits: Limits, changed: Callable[[], None]) -> None:
        """`changed` is called whenever the server's tools may have changed."""
        self._entry, self._limits, self._changed = entry, limits, changed
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._child: StdioTransport | None = None
        self._ended = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        return self._closing.is_set() or (self._child is not None and self._child.over) or self._done

    @property
    def _done(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and not self.over else None

    @property
    def reason(self) -> str:
        """Why it is over, and what the server last wrote on stderr."""
        why = self._ended or (self._child.reason if self._child else "")
        said = self._child.stderr[-SHOWN:] if self._child else ""
        return "; ".join(part for part in (why, f"stderr: {one_line(said)}" if said else "") if part)

    async def client(self) -> Client:
        """Opens it when it is asked for first. Raises ServerDown."""
        if self._task is None:
            self._task = asyncio.create_task(self._live())
        return await asyncio.shield(self._opened)

    def give_up(self, reason: str) -> None:
        """The server lives, but is of no use."""
        self._ended = self._ended or reason
        self._closing.set()

    async def close(self) -> None:
        """The server is stopped when this returns, however it minds; also when this is cancelled, a little later."""
        self._closing.set()
        if self._task is not None:
            if not self._opened.done():
                self._task.cancel()
            await asyncio.wait([self._task])

    async def _live(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._limits.start_seconds):
                    client = await self._open(stack)
                hearing = asyncio.create_task(self._hear(client))
                stack.push_async_callback(_cancelled, hearing)
                self._opened.set_result(client)
                await self._closing.wait()
        except TimeoutError:
            self._ended = self._ended or f"it did not start within {self._limits.start_seconds:g} s"
        except Exception as error:  # noqa: BLE001 - a stranger's server over somebody's library: it ends this link alone
            if not (self._child and self._child.reason):
                self._ended = self._ended or _told(error)
        finally:
            if not self._opened.done():
                self._opened.set_exception(ServerDown(self.reason or "it was stopped"))
                self._opened.exception()  # nobody may be waiting any more

    async def _open(self, stack: AsyncExitStack) -> Client:
        if self._entry.url is not None:
            return await self._over_http(stack, self._entry.url)
        try:
            return await self._over_stdio(stack, self._entry.protocol)
        except (MCPError, ExceptionGroup):
            if self._entry.protocol == "legacy" or self._child is None or not self._child.over:
                raise
        # some old servers die of being asked for the new protocol
        return await self._over_stdio(stack, "legacy")

    async def _over_stdio(self, stack: AsyncExitStack, mode: str) -> Client:
        entry = self._entry
        assert entry.command is not None
        self._child = StdioTransport(
            entry.command, entry.args, entry.env, entry.cwd, self._limits.message_bytes
        )
        return await stack.enter_async_context(self._speaking(self._child, mode))

    async def _over_http(self, stack: AsyncExitStack, url: str) -> Client:
        limits = self._limits
        http = httpx2.AsyncClient(
            transport=GuardedTransport(httpx2.AsyncHTTPTransport(), limits.message_bytes),
            headers={"accept-encoding": "identity", **self._entry.headers},
            timeout=httpx2.Timeout(limits.start_seconds, read=max(limits.call_seconds, LISTENING_SECONDS)),
        )
        await stack.enter_async_context(http)
        transport = streamable_http_client(url, http_client=http, max_sse_event_size=limits.message_bytes)
        return await stack.enter_async_context(self._speaking(transport, self._entry.protocol))

    def _speaking(self, transport: Transport, mode: str) -> Client:
        return Client(transport, mode=mode, cache=None, message_handler=self._heard, client_info=CLIENT)

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed()

    async def _hear(self, client: Client) -> None:
        """Servers of the current protocol tell of changes only to whom subscribed to them."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (tools and tools.list_changed):
            return
        refused = 0
        while refused < LISTEN_AGAIN:
            refused += 1
            with contextlib.suppress(SubscriptionLost, MCPError, TimeoutError):
                async with client.listen(tools_list_changed=True) as changes:
                    refused = 0
                    self._changed()  # what changed before we were heard
                    async for _ in changes:
                        pass  # `_heard` is told of each as well
            await asyncio.sleep(LISTEN_PAUSE)


def one_line(text: str, most: int = SHOWN) -> str:
    """For a message: printable, on one line, and not endless."""
    line = " ".join(text.split())
    shown = "".join(sign if sign.isprintable() else "?" for sign in line[:most])
    return shown + ("…" if len(line) > most else "")


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return one_line(str(error)) or type(error).__name__


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
