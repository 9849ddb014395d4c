"""The embedded edge's HTTP half: read a request whole, wait for the gate, forward it, relay the answer.

A request is *accepted* when it was read whole. After that it is answered: by the instance that it reached
or, when that one vanished before its reply began to reach the client, by the next live instance. That is
right because every request carries an id and the service promises one effect and one answer per id. A reply
that is not a stream is read whole before the client sees its first byte, so that an instance that dies in
the middle costs nothing.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import h11

from evidence.canonical import new_id
from promote.door import Door
from promote.gate import Caps, Gate, Overfull, Patience, Target, TurnLog

_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
_MAX_BODY = 16 << 20
_MAX_BUFFERED_REPLY = 4 << 20
_READ = 65536
_IDLE_SECONDS = 75.0
_RETRY_PAUSE = 0.02
_RESUMES = 3
"""So many times a reply that was cut in the middle is asked for again."""
_WAIT = re.compile(rb"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")
_OWN_COOKIES = b"evolve_"
"""Browsers don't tell cookies of one host apart by port: the page's must not reach the service, nor be set by it."""
UNANSWERED = "no answer came, and the request may have taken effect: ask again with the same id"
Headers = list[tuple[bytes, bytes]]


class _Vanished(Exception):
    """The instance went away before its reply began to reach the client."""

    def __init__(self, reached: bool) -> None:
        super().__init__("the instance went away")
        self.reached = reached


class _Cut(Exception):
    """A reply that had begun was cut for good; the client's connection must be closed to say so."""


class _Gone(Exception):
    """The client went away in the middle of its reply: nobody's failure."""


class _TooLarge(Exception):
    pass


@dataclass
class Passed:
    """What a client has of a streamed reply. The same id has one effect, so a turn that was cut is asked for again and
    its reply goes on behind what is here."""

    begun: bool = False
    body: bytearray = field(default_factory=bytearray)
    cuts: int = 0

    def rest(self, data: bytes, offset: int) -> bytes:
        """What of `data`, which starts at `offset` of a reply, is new. Raises _Cut when it is not the same reply."""
        known = bytes(self.body[offset : offset + len(data)])
        if not data.startswith(known):
            raise _Cut
        self.body += data[len(known) :]
        return data[len(known) :]


@dataclass
class Accepted:
    """A request read whole."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    at: float = field(default_factory=time.time)

    @property
    def path(self) -> str:
        return self.target.split(b"?", 1)[0].decode("latin-1")


class Relay:
    """Serves client connections; one upstream connection per request, never reused, so none is ever stale."""

    def __init__(
        self,
        gate: Gate,
        turns: TurnLog,
        caps: Caps,
        *,
        turn_paths: frozenset[str],
        health_paths: frozenset[str],
        request_id_header: str,
    ) -> None:
        self._gate = gate
        self._turns = turns
        self._caps = caps
        self._turn_paths = turn_paths
        self._health_paths = health_paths
        self._id_header = request_id_header.lower().encode()
        self._door = Door()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = h11.Connection(h11.SERVER)
        try:
            while (request := await self._read_request(link, reader, writer)) is not None:
                await self._answer(request, link, writer)
                if link.our_state is not h11.DONE or link.their_state is not h11.DONE:
                    break
                link.start_next_cycle()
        except _TooLarge:
            await self._say(link, writer, 413, "the body is too large", close=True)
        except h11.RemoteProtocolError as error:
            await self._say(link, writer, 400, str(error), close=True)
        except (OSError, TimeoutError, h11.LocalProtocolError, _Cut, _Gone):
            pass
        finally:
            writer.close()

    async def _read_request(
        self, link: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Accepted | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = link.next_event()
            if event is h11.NEED_DATA:
                if link.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    await _send(writer, link.send(go_on))
                link.receive_data(await asyncio.wait_for(reader.read(_READ), _IDLE_SECONDS))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _MAX_BODY:
                    raise _TooLarge
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Accepted(head.method, head.target, list(head.headers), bytes(body))
            else:
                return None

    def _stamp(self, request: Accepted) -> Headers:
        """Hop-by-hop headers off, id and clock on. Nobody outside sets the clock."""
        drop = _HOP_BY_HOP | {b"content-length", b"expect", b"x-turn-clock"}
        headers = _without_own_cookies((name, value) for name, value in request.headers if name not in drop)
        if not any(name == self._id_header and value.strip() for name, value in headers):
            headers = [pair for pair in headers if pair[0] != self._id_header]
            headers.append((self._id_header, new_id().encode()))
        headers += [
            (b"x-turn-clock", f"{request.at:.6f}".encode()),
            (b"connection", b"close"),
            (b"content-length", str(len(request.body)).encode()),
        ]
        return headers

    async def _answer(self, request: Accepted, link: h11.Connection, writer: asyncio.StreamWriter) -> None:
        if _wants_websocket(request):
            await self._say(link, writer, 501, "WebSocket is not relayed: ask for a stream of events")
            return
        headers = self._stamp(request)
        if request.path in self._health_paths:
            await self._health(request, headers, link, writer)
            return
        patience = Patience(min(self._caps.hold_seconds, _wait_preferred(headers)))
        blamed: set[int] = set()
        begun: dict[int, float] = {}
        passed = Passed()
        reached = False
        while True:
            try:
                ticket, target = await self._gate.admit(len(request.body), patience)
            except Overfull as error:
                await self._refuse(link, writer, headers, UNANSWERED if reached else str(error), passed)
                return
            started = begun.setdefault(target.epoch, time.monotonic())
            self._gate.began(ticket, started)
            tried = time.monotonic()
            try:
                status = await self._forward(request, headers, target, link, writer, passed)
                self._mark(request, target, status, started)
                return
            except _Vanished as error:
                if not error.reached:
                    patience.left -= time.monotonic() - tried
                reached = reached or error.reached
                if error.reached and target.epoch not in blamed:
                    self._mark(request, target, 0, started)
                    blamed.add(target.epoch)
            except _Cut:
                if target.epoch not in blamed:
                    self._mark(request, target, 0, started)
                raise
            finally:
                self._gate.leave(ticket)
            if patience.left <= 0:
                why = UNANSWERED if reached else "the service did not answer"
                await self._refuse(link, writer, headers, why, passed)
                return
            await patience.pause(_RETRY_PAUSE)

    async def _refuse(
        self, link: h11.Connection, writer: asyncio.StreamWriter, headers: Headers, why: str, passed: Passed
    ) -> None:
        """Names the request's id, which the client may not know: the edge stamped it."""
        if passed.begun:
            raise _Cut
        ident = next(pair for pair in headers if pair[0] == self._id_header)
        await self._say(link, writer, 503, why, ident)

    def _mark(self, request: Accepted, target: Target, status: int, started: float) -> None:
        if request.method == b"POST" and request.path in self._turn_paths:
            self._turns.add(target.epoch, status, (time.monotonic() - started) * 1000)

    async def _health(
        self, request: Accepted, headers: Headers, link: h11.Connection, writer: asyncio.StreamWriter
    ) -> None:
        try:
            if self._gate.target is None:
                raise _Vanished(reached=False)
            await self._forward(request, headers, self._gate.target, link, writer, Passed(cuts=_RESUMES))
        except _Vanished:
            await self._say(link, writer, 503, "no live instance")

    async def _forward(
        self,
        request: Accepted,
        headers: Headers,
        target: Target,
        link: h11.Connection,
        writer: asyncio.StreamWriter,
        passed: Passed,
    ) -> int:
        try:
            service, sending = await self._door.connect(Path(target.socket), self._caps.hold_seconds)
        except OSError:
            raise _Vanished(reached=False) from None
        try:
            upstream = h11.Connection(h11.CLIENT)
            head = h11.Request(method=request.method, target=request.target, headers=headers)
            parts = [
                upstream.send(head),
                upstream.send(h11.Data(request.body)),
                upstream.send(h11.EndOfMessage()),
            ]
            try:
                await _send(sending, b"".join(part or b"" for part in parts))
                events = _events(upstream, service)
                reply = await anext(events)
            except (OSError, h11.RemoteProtocolError, StopAsyncIteration):
                raise _Vanished(reached=True) from None
            if not isinstance(reply, h11.Response):
                raise _Vanished(reached=True)
            await self._relay_reply(reply, events, link, writer, passed)
            return reply.status_code
        finally:
            sending.close()

    async def _relay_reply(
        self,
        reply: h11.Response,
        events: AsyncIterator[h11.Event],
        link: h11.Connection,
        writer: asyncio.StreamWriter,
        passed: Passed,
    ) -> None:
        kept = [
            (name, value)
            for name, value in reply.headers
            if name not in _HOP_BY_HOP and not (name == b"set-cookie" and _is_own_cookie(value))
        ]
        head = h11.Response(status_code=reply.status_code, headers=kept, reason=reply.reason)
        length = next((int(value) for name, value in kept if name == b"content-length"), None)
        if length is not None and length <= _MAX_BUFFERED_REPLY and not passed.begun:
            body = bytearray()
            try:
                async for event in events:
                    if isinstance(event, h11.Data):
                        body += event.data
            except (OSError, h11.RemoteProtocolError):
                raise _Vanished(reached=True) from None
            parts = [link.send(head), link.send(h11.Data(bytes(body))), link.send(h11.EndOfMessage())]
            await _send(writer, b"".join(part or b"" for part in parts))
            return
        if not passed.begun:
            await _send(writer, link.send(head))
            passed.begun = True
        offset = 0
        try:
            async for event in events:
                if isinstance(event, h11.Data):
                    new = passed.rest(bytes(event.data), offset)
                    offset += len(event.data)
                    await _pass_on(writer, link.send(h11.Data(new)) if new else None)
        except (OSError, h11.RemoteProtocolError):
            passed.cuts += 1
            if passed.cuts > _RESUMES or len(passed.body) > _MAX_BUFFERED_REPLY:
                raise _Cut from None
            raise _Vanished(reached=True) from None
        if offset < len(passed.body):
            raise _Cut
        await _send(writer, link.send(h11.EndOfMessage()))

    async def _say(
        self,
        link: h11.Connection,
        writer: asyncio.StreamWriter,
        status: int,
        why: str,
        *more: tuple[bytes, bytes],
        close: bool = False,
    ) -> None:
        body = json.dumps({"error": {"message": why, "type": "edge"}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += more
        if status == 503:
            headers.append((b"retry-after", b"1"))
        if close:
            headers.append((b"connection", b"close"))
        try:
            head = h11.Response(status_code=status, headers=headers)
            parts = [link.send(head), link.send(h11.Data(body)), link.send(h11.EndOfMessage())]
            await _send(writer, b"".join(part or b"" for part in parts))
        except (OSError, h11.LocalProtocolError):
            return


async def _events(link: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[h11.Event]:
    """The reply's events; ends at EndOfMessage, raises OSError when the other side is gone before it."""
    while True:
        event = link.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(_READ)
            if not data and link.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError
            link.receive_data(data)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            return
        elif not isinstance(event, h11.InformationalResponse):
            assert not isinstance(event, type)
            yield event


async def _send(writer: asyncio.StreamWriter, data: bytes | None) -> None:
    if data:
        writer.write(data)
        await writer.drain()


async def _pass_on(writer: asyncio.StreamWriter, data: bytes | None) -> None:
    try:
        await _send(writer, data)
    except OSError:
        raise _Gone from None


def _wait_preferred(headers: Headers) -> float:
    """How long the client wants to wait at a shut gate, as it says in `Prefer: wait=SECONDS` (RFC 7240)."""
    said = (_WAIT.search(value) for name, value in headers if name == b"prefer")
    return min((float(found[1]) for found in said if found), default=math.inf)


def _wants_websocket(request: Accepted) -> bool:
    wanted = (value.lower().split(b",") for name, value in request.headers if name == b"upgrade")
    return any(protocol.strip() == b"websocket" for protocols in wanted for protocol in protocols)


def _without_own_cookies(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    kept = []
    for name, value in headers:
        if name == b"cookie":
            value = b"; ".join(pair.strip() for pair in value.split(b";") if not _is_own_cookie(pair))
            if not value:
                continue
        kept.append((name, value))
    return kept


def _is_own_cookie(pair: bytes) -> bool:
    return pair.strip().lower().startswith(_OWN_COOKIES)
