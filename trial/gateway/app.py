"""The HTTP front of a gateway: wire formats in, one `Session` behind.

Bodies leave in canonical JSON, live and replayed alike: an agent that prints a tool's answer into its next
prompt then prints the same text in both.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from evidence.canonical import canonical_json
from trial.gateway import rpc, wire
from trial.gateway.model import ModelAnswer
from trial.gateway.session import Session, Ticket

_MAX_ID = 200


class _BadBody(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Front:
    """`session()` is asked once per request, so a replayed case can be exchanged between two of them."""

    def __init__(self, session: Callable[[], Session], max_body: int) -> None:
        self._session = session
        self._max = max_body
        self._pumps: set[asyncio.Task[None]] = set()

    def app(self, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
        routes = [
            Route(path, self.model, methods=["POST"]) for path in (*wire.FORMATS, "/v1beta/models/{call}")
        ]
        routes += [
            Route("/healthz", self.health, methods=["GET"]),
            Route("/mcp", self.servers, methods=["GET"]),
            Route("/mcp/{server}", self.mcp, methods=["POST"]),
            Route("/mcp/{server}", self.mcp_get, methods=["GET"]),
            Route("/mcp/{server}", self.mcp_delete, methods=["DELETE"]),
        ]
        return Starlette(routes=routes, lifespan=lifespan, exception_handlers={500: self._crashed})

    async def drain(self, grace: float) -> None:
        """Wait for streams whose clients left: their end is still to be recorded."""
        if self._pumps:
            await asyncio.wait(set(self._pumps), timeout=grace)

    async def _crashed(self, request: Request, error: Exception) -> Response:
        """A bug of ours: whoever replays must not mistake it for the candidate's failure."""
        self._session().broke(f"the gateway broke: {error!r}")
        return _reply(wire.error_body(request.url.path, 500, "gateway_error", "the gateway broke"), 500)

    async def health(self, request: Request) -> Response:
        why = self._session().refusal()
        return _reply({"ok": why is None, "reason": why or ""}, 200 if why is None else 503)

    async def servers(self, request: Request) -> Response:
        return _reply({"servers": self._session().servers()})

    async def mcp_get(self, request: Request) -> Response:
        """No messages of a server's own are relayed, so there is no stream to open."""
        return Response(status_code=405, headers={"allow": "POST, DELETE"})

    async def mcp_delete(self, request: Request) -> Response:
        return Response(status_code=200)

    async def model(self, request: Request) -> Response:
        path, session = request.url.path, self._session()
        try:
            if wire.format_of(path) is None:
                raise _BadBody(404, "no such model call")
            body, size = await _read_json(request, self._max)
            if not isinstance(body, dict):
                raise _BadBody(400, "the body must be a JSON object")
        except _BadBody as error:
            body = wire.error_body(path, error.status, "invalid_request_error", str(error))
            return _reply(body, error.status)
        if why := session.refusal():
            return _reply(wire.error_body(path, 503, "not_recording", why), 503)
        ticket = session.begin("model", path, wire.canonical_request(body), _request_id(request))
        answer = await session.model(ticket, path, body, size, request.headers)
        if answer.frames is not None:
            return self._stream(session, ticket, answer, answer.frames)
        payload = wire.storable(answer.body)
        await session.finish(ticket, payload, answer.status)
        return _reply(payload, answer.status, lambda: session.sent(ticket), answer.headers)

    async def mcp(self, request: Request) -> Response:
        server, session = request.path_params["server"], self._session()
        try:
            value, _ = await _read_json(request, self._max)
            message = rpc.parse_message(value)
        except (_BadBody, rpc.Malformed) as error:
            code = rpc.PARSE_ERROR if isinstance(error, _BadBody) else rpc.INVALID_REQUEST
            status = error.status if isinstance(error, _BadBody) else 400
            return _reply(rpc.reply(None, rpc.error(code, str(error))), status)
        if server not in session.servers():
            problem = rpc.error(rpc.INVALID_REQUEST, f"no tool server named {server!r} here")
            return _reply(rpc.reply(message.id, problem), 404)
        if message.kind != "request":
            return Response(status_code=202)
        if message.method == "ping":
            return _reply(rpc.reply(message.id, {"result": {}}))
        if message.method == "server/discover":  # a newer handshake; clients fall back to `initialize`
            return _reply(rpc.reply(message.id, rpc.error(rpc.METHOD_NOT_FOUND, "Method not found")))
        if why := session.refusal():
            return _reply(rpc.reply(message.id, rpc.error(rpc.REFUSED, why)))
        return await self._rpc(session, server, message, _request_id(request))

    async def _rpc(self, session: Session, server: str, message: rpc.Message, request_id: str) -> Response:
        target = rpc.target_of(server, message)
        ticket = session.begin("tool", target, rpc.recorded_params(message.params), request_id)
        answer = await session.rpc(ticket, server, message)
        answer = {name: wire.storable(value) for name, value in answer.items()}
        if message.method not in rpc.DISCOVERY or "error" in answer:
            await session.finish(ticket, answer, 200)
        return _reply(rpc.reply(message.id, answer), after=lambda: session.sent(ticket))

    def _stream(
        self, session: Session, ticket: Ticket, answer: ModelAnswer, frames: AsyncIterator[bytes]
    ) -> Response:
        """A task of its own reads the upstream to its end, whether or not the client stays."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        task = asyncio.create_task(_pump(session, ticket, answer.status, frames, queue))
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                while (chunk := await queue.get()) is not None:
                    yield chunk
            finally:
                session.sent(ticket)

        return StreamingResponse(chunks(), answer.status, media_type="text/event-stream")


async def _pump(
    session: Session,
    ticket: Ticket,
    status: int,
    frames: AsyncIterator[bytes],
    queue: "asyncio.Queue[bytes | None]",
) -> None:
    kept: list[dict[str, object]] = []
    try:
        async for raw in frames:
            frame = wire.parse_frame(raw)
            frame = {name: wire.storable(value) for name, value in frame.items()}
            queue.put_nowait(wire.render_frame(frame))
            kept.append({**frame, "at": round(time.monotonic() - ticket.began, 6)})
    except wire.STREAM_ERRORS as error:
        kept.append({"error": f"the stream broke: {error!r}"})
        session.broke(f"model upstream: the stream broke: {error!r}")
    finally:
        await session.finish(ticket, {"frames": kept}, status)
        queue.put_nowait(None)


class _Reply(Response):
    """Canonical JSON, and a call when it is on the wire."""

    after: Callable[[], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.after is not None:
                self.after()


def _reply(
    value: object,
    status: int = 200,
    after: Callable[[], None] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    response = _Reply(canonical_json(value), status, headers, media_type="application/json")
    response.after = after
    return response


def _request_id(request: Request) -> str:
    return request.headers.get("x-request-id", "")[:_MAX_ID]


async def _read_json(request: Request, limit: int) -> tuple[object, int]:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise _BadBody(415, "compressed bodies are not understood; send plain JSON")
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > limit:
                raise _BadBody(413, f"the body is larger than {limit} bytes")
    except ClientDisconnect:
        raise _BadBody(400, "the body ended early") from None
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
        canonical_json(value)
    except (ValueError, RecursionError) as error:
        raise _BadBody(400, f"the body is not JSON: {error}") from None
    return value, len(raw)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
