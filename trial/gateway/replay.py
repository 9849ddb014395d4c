"""Replaying one case: recorded answers, in their recorded order and after their recorded latency.

Arena trouble (a live miss that our upstream could not answer) is kept apart from what the candidate did
wrong: it is `trouble`, and a replay with trouble is never scored.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette

from evidence.cases import AnyCase, CallKind, CaseContent, MissPolicy, RecordedCall
from trial.gateway import chat, rpc, wire
from trial.gateway.app import Front
from trial.gateway.config import ConfigError, GatewayConfig
from trial.gateway.meter import Meter
from trial.gateway.model import ModelAnswer, ModelSource
from trial.gateway.right_answer import RightAnswer, step_of
from trial.gateway.server import Background
from trial.gateway.session import Clock, Ticket
from trial.gateway.tape import Tape
from trial.gateway.tools import ToolSource

GAP = 0.002
"""Seconds between an answer on the wire and the next that had to wait for it, so that the reader sees them
apart."""

WARM_SECONDS = 60.0
"""That live tool servers may take to start."""
UNANSWERED = 499
"""Status of a call that the service made and did not live to see answered."""


def load_case(path: Path) -> CaseContent:
    """One case from its JSON file. Raises ConfigError."""
    adapter: TypeAdapter[AnyCase] = TypeAdapter(AnyCase)
    try:
        return adapter.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path}: not a case: {error.errors()[0]['msg']}") from None
    except OSError as error:
        raise ConfigError(str(error)) from None


class ReplaySession:
    """One case, played once. `case` None: nothing is recorded, every call is a miss. `right`: what answers model calls
    from `mark` on, in the recording's place."""

    def __init__(
        self,
        case: CaseContent | None,
        models: ModelSource,
        tools: ToolSource,
        right: RightAnswer | None = None,
    ) -> None:
        self._models, self._tools = models, tools
        self._right, self._steps = right, 0
        self._marked = False
        self._tape = Tape(case.cassette) if case else None
        self._policy: dict[CallKind, MissPolicy] = {
            "model": case.on_model_miss if case else "fail",
            "tool": case.on_tool_miss if case else "fail",
        }
        self._clock = Clock()
        self._open: set[Ticket] = set()
        self._playing: dict[Ticket, tuple[int, asyncio.Event]] = {}
        self._calls: list[RecordedCall] = []
        self.misses: list[str] = []
        """Calls that the recording does not hold, each `kind target: what was done`."""
        self._over = asyncio.Event()
        self.trouble: str | None = None
        """Why this replay can't be scored, or None."""

    def refusal(self) -> str | None:
        return None

    def servers(self) -> list[str]:
        live = self._tools.names if self._policy["tool"] == "live" else []
        return sorted({*(self._tape.servers if self._tape else ()), *live})

    def calls(self) -> list[RecordedCall]:
        """As this gateway saw them, in start order; those still open are marked unanswered."""
        late = [ticket.recorded(None, UNANSWERED, self._clock.end()) for ticket in self._open]
        return sorted([*self._calls, *late], key=lambda call: call.start_order)

    def mark(self) -> int:
        self._marked = True
        return self._clock.end()

    def begin(self, kind: CallKind, target: str, request: object, request_id: str) -> Ticket:
        ticket = self._clock.begin(kind, target, request, request_id)
        self._open.add(ticket)
        return ticket

    async def model(
        self, ticket: Ticket, path: str, body: dict[str, object], size: int, headers: Mapping[str, str]
    ) -> ModelAnswer:
        if self._right is not None and self._marked:
            return self._say_right(self._right, path, body)
        call = self._find(ticket)
        if call is None and self._policy["model"] == "live":
            answer = await self._models.call(path, body, size, headers)
            self.trouble = self.trouble or answer.arena
            return answer
        if call is None:
            return ModelAnswer(
                502, wire.error_body(path, 502, "not_recorded", "no recorded answer to this request")
            )
        frames = wire.frames_of(call.response)
        if frames is not None:
            return ModelAnswer(call.status, frames=self._play(ticket, call, frames))
        await self._wait(ticket, call)
        return ModelAnswer(call.status, call.response)

    def _say_right(self, right: RightAnswer, path: str, body: dict[str, object]) -> ModelAnswer:
        step = step_of(right, self._steps, body) if path == chat.PATH else None
        if step is None:
            self.misses.append(f"model {path}: no right answer to it")
            return ModelAnswer(
                502, wire.error_body(path, 502, "not_recorded", "no right answer to this request")
            )
        self._steps += 1
        if body.get("stream") is True:
            return ModelAnswer(200, frames=_rendered(chat.as_frames(step)))
        return ModelAnswer(200, step)

    async def rpc(self, ticket: Ticket, server: str, message: rpc.Message) -> dict[str, object]:
        known = self._tape.discovered(server, message) if self._tape else None
        if known is not None:
            self._open.discard(ticket)
            return known
        call = self._find(ticket)
        if call is None and self._policy["tool"] == "live" and server in self._tools.names:
            answer, ours = await self._tools.ask(server, message)
            if ours:
                self.trouble = self.trouble or f"tool server {server}: {answer['error']}"
            return answer
        if call is None:
            return rpc.error(rpc.NOT_RECORDED, "no recorded answer to this call")
        await self._wait(ticket, call)
        if isinstance(call.response, dict) and call.response.keys() & {"result", "error"}:
            return dict(call.response)
        return {"result": call.response}

    async def finish(self, ticket: Ticket, response: object, status: int) -> None:
        self._open.discard(ticket)
        self._calls.append(ticket.recorded(response, status, self._clock.end()))

    def sent(self, ticket: Ticket) -> None:
        if ticket in self._playing:
            self._playing.pop(ticket)[1].set()

    def broke(self, why: str) -> None:
        self.trouble = self.trouble or why

    def abandon(self) -> None:
        """Nobody waits for what is still open: let it end now."""
        self._over.set()

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), seconds)

    def _find(self, ticket: Ticket) -> RecordedCall | None:
        """The recorded call to play, marked as in flight; a miss is noted."""
        call = None
        if self._tape is not None:
            call = self._tape.take(ticket.kind, ticket.target, ticket.request, ticket.request_id)
            if call is None:
                policy = self._policy[ticket.kind]
                self.misses.append(f"{ticket.kind} {ticket.target}: {policy}")
                if policy == "nearest":
                    call = self._tape.nearest(ticket.kind, ticket.target, ticket.request)
        if call is not None:
            self._playing[ticket] = (call.end_order, asyncio.Event())
        return call

    async def _wait(self, ticket: Ticket, call: RecordedCall) -> None:
        """Until the recorded latency is over and no call in flight has an earlier recorded end."""
        await self._pause(call.latency - (time.monotonic() - ticket.began))
        waited = False
        while earlier := [gate for end, gate in self._playing.values() if end < call.end_order]:
            await asyncio.gather(*(gate.wait() for gate in earlier))
            waited = True
        if waited:
            await self._pause(GAP)

    async def _play(
        self, ticket: Ticket, call: RecordedCall, frames: list[dict[str, object]]
    ) -> AsyncIterator[bytes]:
        for index, frame in enumerate(frames):
            at = frame.get("at", 0.0)
            pause = (at if isinstance(at, int | float) else 0.0) - (time.monotonic() - ticket.began)
            await self._pause(pause)
            if index == len(frames) - 1:
                await self._wait(ticket, call)
            if "error" not in frame:
                yield wire.render_frame(frame)


async def _rendered(frames: list[dict[str, object]]) -> AsyncIterator[bytes]:
    for frame in frames:
        yield wire.render_frame(frame)


class ReplayGateway:
    """A gateway in a thread, for one shard: load a case, let the service talk, take what it said.

    Live misses go to `config`'s upstream and servers; `meter` caps them together with other gateways' misses.
    """

    def __init__(
        self, socket_path: Path, config: GatewayConfig | None = None, meter: Meter | None = None
    ) -> None:
        self.socket_path = socket_path
        used = config or GatewayConfig(socket=socket_path, mode="live")
        meter = meter or Meter(used.caps, used.meter)
        self._models = ModelSource(used.upstream, meter, used.max_body)
        self._tools = ToolSource(used.servers, meter, used.max_body)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving, self._warmed = threading.Event(), False
        self._session = ReplaySession(None, self._models, self._tools)
        front = Front(lambda: self._session, used.max_body)
        self._background = Background(front.app(self._lifespan), socket_path)

    def load(self, case: CaseContent, right: RightAnswer | None = None) -> None:
        """Play this case from its beginning, with `right` in the place of its model. Calls still open belong to the one
        before and are not seen again."""
        if case.on_tool_miss == "live":
            self._warm()
        before, self._session = self._session, ReplaySession(case, self._models, self._tools, right)
        self._abandon(before)

    def _warm(self) -> None:
        """Start the live tool servers, once: the time that it takes is ours, and no case's."""
        if self._warmed or not self._tools.names:
            return
        self._warmed = True
        if self._serving.wait(WARM_SECONDS) and self._loop is not None:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._tools.warm(), self._loop).result(WARM_SECONDS)

    def mark(self) -> int:
        """An order between the calls that began before now and those that begin later."""
        return self._session.mark()

    def take_log(self) -> list[RecordedCall]:
        """Calls since `load`, in start order."""
        return self._session.calls()

    @property
    def misses(self) -> tuple[str, ...]:
        return tuple(self._session.misses)

    @property
    def trouble(self) -> str | None:
        return self._session.trouble

    def close(self) -> None:
        self._abandon(self._session)
        self._background.close()

    def __enter__(self) -> "ReplayGateway":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _abandon(self, session: ReplaySession) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(session.abandon)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        self._serving.set()
        try:
            yield
        finally:
            await self._tools.close()
            await self._models.close()
