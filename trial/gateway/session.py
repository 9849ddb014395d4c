"""What the HTTP front asks of whatever stands behind it, and the live session that forwards and records."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evidence.canonical import new_id
from evidence.cases import CallKind, RecordedCall
from trial.gateway import rpc
from trial.gateway.calllog import CallLog
from trial.gateway.model import ModelAnswer, ModelSource
from trial.gateway.tools import ToolSource


@dataclass(eq=False)
class Ticket:
    """One call under way."""

    kind: CallKind
    target: str
    request: object
    request_id: str
    start_order: int
    ts: float
    began: float

    def recorded(self, response: object, status: int, end_order: int) -> RecordedCall:
        return RecordedCall(
            kind=self.kind,
            target=self.target,
            request_id=self.request_id,
            request=self.request,
            response=response,
            status=status,
            start_order=self.start_order,
            end_order=end_order,
            latency=round(time.monotonic() - self.began, 6),
        )


class Session(Protocol):
    """Behind the front: a live gateway, or one case being replayed."""

    def refusal(self) -> str | None: ...
    def servers(self) -> list[str]: ...
    def begin(self, kind: CallKind, target: str, request: object, request_id: str) -> Ticket: ...
    async def model(
        self, ticket: Ticket, path: str, body: dict[str, object], size: int, headers: Mapping[str, str]
    ) -> ModelAnswer: ...
    async def rpc(self, ticket: Ticket, server: str, message: rpc.Message) -> dict[str, object]: ...
    async def finish(self, ticket: Ticket, response: object, status: int) -> None: ...
    def sent(self, ticket: Ticket) -> None: ...
    def broke(self, why: str) -> None: ...


class Clock:
    """Starts and ends share one sequence, so that a log also says which call began after which answer."""

    def __init__(self, first: int = 0) -> None:
        self._orders = itertools.count(first)

    def begin(self, kind: CallKind, target: str, request: object, request_id: str) -> Ticket:
        return Ticket(kind, target, request, request_id, next(self._orders), time.time(), time.monotonic())

    def end(self) -> int:
        return next(self._orders)


class LiveSession:
    """Forwards everything; writes it down when there is a log (mode `record`)."""

    def __init__(self, models: ModelSource, tools: ToolSource, log: CallLog | None) -> None:
        self._models, self._tools, self._log = models, tools, log
        self._clock = Clock(log.next_order if log else 0)

    def refusal(self) -> str | None:
        return self._log.refusal() if self._log else None

    def servers(self) -> list[str]:
        return self._tools.names

    def begin(self, kind: CallKind, target: str, request: object, request_id: str) -> Ticket:
        return self._clock.begin(kind, target, request, request_id)

    async def model(
        self, ticket: Ticket, path: str, body: dict[str, object], size: int, headers: Mapping[str, str]
    ) -> ModelAnswer:
        return await self._models.call(path, body, size, headers)

    async def rpc(self, ticket: Ticket, server: str, message: rpc.Message) -> dict[str, object]:
        answer, _ = await self._tools.ask(server, message)
        if self._tools.learn(server, message, answer) and self._log is not None:
            await self._log.append({"catalog": dict(self._tools.catalog), "ts": time.time()})
        return answer

    async def finish(self, ticket: Ticket, response: object, status: int) -> None:
        call = ticket.recorded(response, status, self._clock.end())
        if self._log is not None:
            await self._log.append({**call.model_dump(mode="json"), "ts": ticket.ts, "id": new_id()})

    def sent(self, ticket: Ticket) -> None:
        pass

    def broke(self, why: str) -> None:
        pass
