"""What stands between `mcp`'s streamable HTTP client and the network: answers are bounded, and a failure becomes a JSON-RPC
error that tells whether the request may have been done. Without it a connection that fails for one request ends all
others of the session, and an answer with a status in the place of a message loses its text."""

import json
from typing import Any

import httpx2

from workflows.servers.wire_errors import NOT_DONE, SESSION_LOST, UNKNOWN

KEPT_OF_A_REFUSAL = 65536
SHOWN = 300
SESSION = "mcp-session-id"
GOODBYE_SECONDS = 2.0
_PASSED_ON = ("content-type", SESSION)


class GuardedTransport(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport, longest: int) -> None:
        self._inner, self._longest = inner, longest

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":  # a session's end: said, but not waited for
            limits = dict.fromkeys(("connect", "read", "write", "pool"), GOODBYE_SECONDS)
            request.extensions = {**request.extensions, "timeout": limits}
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        asks = b'"id"' in request.content
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return _failure(NOT_DONE, f"no connection: {error or type(error).__name__}")
        except httpx2.TransportError as error:
            return _failure(UNKNOWN, f"{type(error).__name__}: {error}")
        if not asks or response.has_redirect_location:
            return response
        return await self._judged(response, lost=response.status_code == 404 and SESSION in request.headers)

    async def _judged(self, response: httpx2.Response, *, lost: bool) -> httpx2.Response:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        plain = response.headers.get("content-encoding", "identity").lower() == "identity"
        if response.status_code == 200 and kind == "text/event-stream" and plain:
            return response  # bounded by the client, event by event
        longest = self._longest if response.status_code == 200 else KEPT_OF_A_REFUSAL
        try:
            body = await _body(response, longest)
        except httpx2.TransportError as error:
            return _failure(UNKNOWN, f"{type(error).__name__}: {error}")
        finally:
            await response.aclose()
        if lost:
            return _failure(SESSION_LOST, "the session is lost")
        if body is None:
            return _failure(UNKNOWN, f"its answer has more than {longest} bytes")
        if not plain:
            return _failure(UNKNOWN, "its answer is compressed, which it was asked not to do")
        if kind == "application/json" and _is_answer(body):
            headers = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
            return httpx2.Response(response.status_code, headers=headers, content=body)
        text = body[:SHOWN].decode(errors="replace")
        refused = 400 <= response.status_code < 500
        return _failure(
            NOT_DONE if refused else UNKNOWN, f"status {response.status_code}, {kind or 'no type'}: {text}"
        )


async def _body(response: httpx2.Response, longest: int) -> bytes | None:
    """None if there is more of it."""
    parts: list[bytes] = []
    held = 0
    async for part in response.aiter_raw():
        parts.append(part)
        held += len(part)
        if held > longest:
            return None
    return b"".join(parts)


def _is_answer(body: bytes) -> bool:
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and ("result" in message or isinstance(message.get("error"), dict))


def _failure(code: int, message: str) -> httpx2.Response:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return httpx2.Response(502, json=error)
