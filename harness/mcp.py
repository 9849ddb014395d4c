"""A client of one MCP server over streamable HTTP, with no more than a tool call needs."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Offered is the first; a server may answer with any."""
HEADER_SINCE = "2025-06-18"
CLIENT = {"name": "harness", "version": "1"}


class ServerFailed(Exception):
    """The way to the tool failed: whether the tool did anything is not known."""


class Refused(Exception):
    """The server answered with a JSON-RPC error."""


class _SessionLost(Exception):
    """The server has forgotten us."""


class McpServer:
    def __init__(self, http: httpx2.AsyncClient, name: str) -> None:
        self.name = name
        self._http = http
        self._ids = itertools.count(1)
        self._opening = asyncio.Lock()
        self._open = False
        self._session: str | None = None
        self._version = VERSIONS[0]

    async def list_tools(self, headers: Mapping[str, str]) -> list[Any]:
        """All pages of `tools/list`. Raises ServerFailed, Refused."""
        tools: list[Any] = []
        cursor: str | None = None
        while True:
            result = await self.request("tools/list", {"cursor": cursor} if cursor else {}, headers)
            tools.extend(result.get("tools") or [])
            cursor = result.get("nextCursor")
            if not cursor:
                return tools

    async def call_tool(
        self, tool: str, arguments: Mapping[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """The result of `tools/call`. Raises ServerFailed, Refused."""
        return await self.request("tools/call", {"name": tool, "arguments": dict(arguments)}, headers)

    async def request(
        self, method: str, params: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """One request in an open session; a session that the server lost is opened anew, once."""
        await self._ensure_open(headers)
        session = self._session
        try:
            return await self._exchange(method, params, headers)
        except _SessionLost:
            if self._session == session:
                self._open = False
        await self._ensure_open(headers)
        try:
            return await self._exchange(method, params, headers)
        except _SessionLost:
            raise ServerFailed(f"{self.name}: the session was lost twice") from None

    async def _ensure_open(self, headers: Mapping[str, str]) -> None:
        async with self._opening:
            if self._open:
                return
            self._session, self._version = None, VERSIONS[0]
            hello = {"protocolVersion": VERSIONS[0], "capabilities": {}, "clientInfo": CLIENT}
            try:
                result = await self._exchange("initialize", hello, headers)
                version = str(result.get("protocolVersion"))
                if version not in VERSIONS:
                    raise ServerFailed(
                        f"{self.name}: speaks version {version}, we speak {', '.join(VERSIONS)}"
                    )
                self._version = version
                note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
                await self._post(note, None, headers)
            except _SessionLost:
                raise ServerFailed(f"{self.name}: the session was lost while it was opened") from None
            self._open = True

    async def _exchange(
        self, method: str, params: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        number = next(self._ids)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        message = await self._post(body, number, headers)
        error, result = message.get("error"), message.get("result")
        if error is not None:
            raise Refused(f"{self.name}: {error.get('message') if isinstance(error, dict) else error}")
        if not isinstance(result, dict):
            raise ServerFailed(f"{self.name}: {method} was answered with no result")
        return result

    async def _post(
        self, body: Mapping[str, Any], number: int | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """The message that answers request `number`; `{}` for a notification, whose number is None."""
        try:
            async with self._http.stream(
                "POST", f"/mcp/{self.name}", json=body, headers=self._headers(headers)
            ) as response:
                if response.status_code == 404 and self._session is not None:
                    raise _SessionLost
                if response.status_code >= 400:
                    text = (await response.aread()).decode(errors="replace")
                    raise ServerFailed(f"{self.name}: status {response.status_code}: {text[:500]}")
                self._session = response.headers.get("mcp-session-id", self._session)
                if number is None:
                    return {}
                async for message in _messages(response):
                    if message.get("id") == number and "method" not in message:
                        return message
        except httpx2.HTTPError as error:
            raise ServerFailed(f"{self.name}: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise ServerFailed(f"{self.name}: not JSON: {error}") from error
        raise ServerFailed(f"{self.name}: the answer to {body['method']} never came")

    def _headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        headers = {"accept": "application/json, text/event-stream", **extra}
        if self._open and self._version >= HEADER_SINCE:
            headers["mcp-protocol-version"] = self._version
        if self._session is not None:
            headers["mcp-session-id"] = self._session
        return headers


async def _messages(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """JSON-RPC messages of an answer in either form; older servers may send several in one array."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        async for data in _event_data(response.aiter_lines()):
            for message in _objects(json.loads(data)):
                yield message
        return
    for message in _objects(json.loads(await response.aread())):
        yield message


async def _event_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The data of each server-sent event."""
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


def _objects(value: Any) -> list[dict[str, Any]]:
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, dict)]
