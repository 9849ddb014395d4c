"""The HTTP side: requests in, checked; replies out, plain or as a stream."""

import hashlib
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import httpx2
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.agent import Agent, error_reply
from harness.events import EventLog, ulid
from harness.guards import shipped_hooks
from harness.memory import Memory
from harness.model import Model
from harness.settings import Policy, Settings
from harness.tools import Toolbox
from harness.turn import Message, Reply, TurnRequest
from workflows.shipped import library, point_sets

TURNS = "/v1/chat/completions"
MAX_BODY = 1 << 20
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
ROLES = ("system", "developer", "user", "assistant", "tool")
PIECE = 64
"""Characters in one frame of a stream."""


class BadRequest(ValueError):
    """The request is no turn: nothing happens, nothing is recorded."""


class Inflight:
    """Counts the turns from their first byte in to their last byte out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        turn = scope["type"] == "http" and scope["path"] == TURNS
        self.count += turn
        try:
            await self._app(scope, receive, send)
        finally:
            self.count -= turn


def create_app(settings: Settings, policy: Policy, memory: Memory, events: EventLog) -> ASGIApp:
    """The service, ready to be served. The caller owns, and closes, `memory` and `events`."""
    http = gateway_client(settings.gateway_socket)
    sets = point_sets()
    for line in sets.ignored:
        events.note("error", where="workflows", type="PointsError", message=line, traceback="")
    agent = Agent(
        memory=memory,
        events=events,
        model=Model(http, settings.model),
        toolbox=Toolbox(http, settings.tool_servers),
        hooks=shipped_hooks(policy),
        policy=policy,
        workflows=library(),
        points=sets.configured,
    )
    identity = {"epoch": settings.epoch, "digest": settings.digest, "boot_nonce": settings.boot_nonce}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        events.note("process_started", **identity)
        try:
            yield
        finally:
            await http.aclose()
            events.note("process_stopped")

    # Handlers return responses, not values: a response model costs every start, and so every replay, a millisecond.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    inflight = Inflight(app)

    @app.exception_handler(OSError)
    @app.exception_handler(sqlite3.Error)
    async def storage_failed(_: Request, error: Exception) -> Response:
        """The turn could not be made durable (a full disk): no effect, and no answer that claims one."""
        return respond(error_reply(503, "storage_failed", str(error)))

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"ok": True})

    @app.get("/readyz")
    async def readyz() -> Response:
        return JSONResponse({"ready": memory.schema > 0, **identity})

    @app.get("/inflight")
    async def in_flight() -> Response:
        return JSONResponse({"inflight": inflight.count})

    @app.post(TURNS)
    async def turn(request: Request) -> Response:
        try:
            accepted = await read_turn(request)
        except BadRequest as error:
            return respond(error_reply(400, "bad_request", str(error)))
        if accepted.passed and memory.session_of(accepted.request_id) is None:
            why = "no stream of this request is known: last-event-id names none of its events"
            return respond(error_reply(409, "unknown_stream", why))
        reply = await agent.handle(accepted)
        return respond(reply, accepted)

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        try:
            body = read_json(await request.body())
            target, rating, comment = read_feedback(body)
        except BadRequest as error:
            return respond(error_reply(400, "bad_request", str(error)))
        if memory.session_of(target) is None:
            return respond(error_reply(404, "not_found", f"no turn {target}"))
        events.note("feedback", target=target, rating=rating, comment=comment)
        return JSONResponse({"recorded": True})

    @app.delete("/v1/sessions/{session}")
    async def delete_session(session: str) -> Response:
        return JSONResponse({"deleted": await agent.forget(session), "session": session})

    return inflight


def gateway_client(socket: str | None) -> httpx2.AsyncClient:
    """Everything leaves through this one socket. A connection a call: an idle one may be closed under us."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    transport = httpx2.AsyncHTTPTransport(
        uds=socket or "/nonexistent/gateway.sock", verify=False, limits=limits
    )
    # No time limit here: the turn has one, and each tool call.
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway", timeout=None, trust_env=False)


async def read_turn(request: Request) -> TurnRequest:
    """Raises BadRequest."""
    body = read_json(await request.body())
    request_id = read_id(request, "x-request-id") or ulid(time.time())
    settings = body.get("settings") or {}
    if not isinstance(settings, dict) or not all(isinstance(value, str) for value in settings.values()):
        raise BadRequest("settings: expected an object of strings")
    return TurnRequest(
        request_id=request_id,
        session=read_id(request, "x-session") or "s-" + hashlib.sha256(request_id.encode()).hexdigest()[:24],
        path=request.url.path,
        clock=read_clock(request),
        body=body,
        messages=read_messages(body),
        settings=settings,
        passed=read_last_event(request),
    )


def read_json(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BODY:
        raise BadRequest(f"the body is larger than {MAX_BODY} bytes")
    try:
        body = json.loads(data)
    except ValueError:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def read_messages(body: dict[str, Any]) -> tuple[Message, ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: expected a list with at least one message")
    read = tuple(_message(message, index) for index, message in enumerate(messages))
    if not any(message["role"] == "user" for message in read):
        raise BadRequest("messages: expected a message of the user")
    return read


def _message(message: Any, index: int) -> Message:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise BadRequest(f"messages[{index}].role: expected one of {', '.join(ROLES)}")
    content = message.get("content")
    if isinstance(content, list):  # the long form: parts, of which we take the text
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(text for text in texts if isinstance(text, str))
    if content is None and message["role"] == "assistant":
        content = ""
    if not isinstance(content, str):
        raise BadRequest(f"messages[{index}].content: expected a text")
    return {**message, "content": content}


def read_id(request: Request, header: str) -> str | None:
    value = request.headers.get(header)
    if value and not ID.fullmatch(value):
        raise BadRequest(f"{header}: expected up to 128 letters, digits and ._:-")
    return value or None


def read_clock(request: Request) -> float:
    try:
        clock = float(request.headers.get("x-turn-clock") or time.time())
    except ValueError:
        clock = -1.0
    if not 0 <= clock < 1e11:
        raise BadRequest("x-turn-clock: expected unix seconds")
    return clock


def read_last_event(request: Request) -> int:
    number = request.headers.get("last-event-id") or "0"
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise BadRequest("last-event-id: expected the number of an event")
    return int(number)


def read_feedback(body: dict[str, Any]) -> tuple[str, str, str]:
    target, rating, comment = body.get("request_id"), body.get("rating"), body.get("comment") or ""
    if not isinstance(target, str) or rating not in ("up", "down") or not isinstance(comment, str):
        raise BadRequest("feedback: expected request_id, rating (up or down) and perhaps a comment")
    return target, rating, comment


def respond(reply: Reply, request: TurnRequest | None = None) -> Response:
    """A stream if the request asked for one and there is an answer to stream; else JSON."""
    headers = {"x-request-id": request.request_id, "x-session": request.session} if request else {}
    if request and request.body.get("stream") is True and reply.status == 200:
        events = islice(frames(reply.body, request.body), request.passed, None)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    return JSONResponse(reply.body, reply.status, headers)


def frames(body: dict[str, Any], request: dict[str, Any]) -> Iterator[str]:
    """The finished reply in the OpenAI streaming format, its events numbered from 1. It begins when the turn is on disk,
    not before."""
    number = 0
    for number, chunk in enumerate(_chunks(body, request), start=1):
        yield f"id: {number}\ndata: {json.dumps(chunk, ensure_ascii=False)}\n\n"
    yield f"id: {number + 1}\ndata: [DONE]\n\n"


def _chunks(body: dict[str, Any], request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    head = {key: body[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    choice = body["choices"][0]
    text = choice["message"]["content"]
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[start : start + PIECE]} for start in range(0, len(text), PIECE)]
    for delta in deltas:
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    options = request.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield head | {"choices": [], "usage": body["usage"]}
