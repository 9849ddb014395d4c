"""The gate: which requests wait, which are in flight, where they go. Its state outlives the process.

Everything here runs on one event loop, so that admission and counting can't be torn apart.
"""

import asyncio
import json
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

from evidence.ledger import write_durably


class Overfull(Exception):
    """No room to wait, or waited long enough: the request was not accepted."""


@dataclass(frozen=True)
class Target:
    """The live instance: its unix socket and who it is."""

    socket: str
    epoch: int
    digest: str


@dataclass(frozen=True)
class Caps:
    """What may wait. Beyond it, requests are refused with 503 and Retry-After."""

    parked: int = 1000
    parked_body: int = 64 << 10
    hold_seconds: float = 60.0


class Patience:
    """How long one request may still wait, over all its waits together."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    async def spend(self, waiter: "asyncio.Event") -> None:
        before = time.monotonic()
        try:
            await asyncio.wait_for(waiter.wait(), max(self.left, 0.001))
        except TimeoutError:
            pass
        finally:
            self.left -= time.monotonic() - before

    async def pause(self, seconds: float) -> None:
        self.left -= seconds
        await asyncio.sleep(seconds)


@dataclass
class GateState:
    """What an edge must know again after a restart. Shut, unless a file says otherwise."""

    held: bool = True
    held_since: float = field(default_factory=time.time)
    target: Target | None = None

    @classmethod
    def load(cls, path: Path) -> "GateState":
        try:
            state = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls()
        target = Target(**state["target"]) if state["target"] else None
        return cls(bool(state["held"]), float(state["held_since"]), target)

    def save(self, path: Path) -> None:
        # Two may write it, promoter and edge, who may be two users; no secret is in it.
        write_durably(path, json.dumps(asdict(self)).encode(), 0o644)

    def hold(self) -> None:
        """Level, not edge: holding twice is holding."""
        if not self.held:
            self.held, self.held_since = True, time.time()

    def release(self) -> float:
        """For how many milliseconds it was shut (0 if it was open)."""
        shut = (time.time() - self.held_since) * 1000 if self.held else 0.0
        self.held = False
        return max(shut, 0.0)


class Gate:
    """Shut until someone opens it, also after a restart."""

    def __init__(self, state_file: Path, caps: Caps) -> None:
        self._file = state_file
        self._caps = caps
        self._state = GateState.load(state_file)
        self._opened = asyncio.Event()
        self.parked = 0
        self.inflight = 0
        self._started: dict[int, float] = {}
        self._next_ticket = 0
        self._announce()

    @property
    def held(self) -> bool:
        return self._state.held

    @property
    def target(self) -> Target | None:
        return self._state.target

    def _announce(self) -> None:
        if self.held or self.target is None:
            self._opened.clear()
        else:
            self._opened.set()

    def hold(self) -> None:
        self._state.hold()
        self._announce()
        self._state.save(self._file)

    def release(self) -> float:
        """Open, and say for how many milliseconds it was shut (0 if it was open)."""
        shut = self._state.release()
        self._state.save(self._file)
        self._announce()
        return shut

    def point_at(self, target: Target) -> None:
        self._state.target = target
        self._state.save(self._file)
        self._announce()

    async def admit(self, body_bytes: int, patience: Patience) -> tuple[int, Target]:
        """Wait for the gate; returns a ticket for `leave`. Raises Overfull."""
        while self.held or self.target is None:
            if self.parked >= self._caps.parked:
                raise Overfull("too many requests wait")
            if body_bytes > self._caps.parked_body:
                raise Overfull("the body is too large to wait")
            if patience.left <= 0:
                raise Overfull("waited too long")
            self.parked += 1
            try:
                await patience.spend(self._opened)
            finally:
                self.parked -= 1
        self._next_ticket += 1
        self._started[self._next_ticket] = time.monotonic()
        self.inflight += 1
        return self._next_ticket, self.target

    def began(self, ticket: int, at: float) -> None:
        """The same request was with this instance before: its age counts from then."""
        self._started[ticket] = at

    def leave(self, ticket: int) -> None:
        if self._started.pop(ticket, None) is not None:
            self.inflight -= 1

    def oldest_seconds(self) -> float:
        """Age of the longest request in flight."""
        return time.monotonic() - min(self._started.values()) if self._started else 0.0


@dataclass(frozen=True)
class TurnMark:
    """How one turn went at the service; status 0 means that it got there and was not answered, or not to the end."""

    seq: int
    epoch: int
    status: int
    ms: float


class TurnLog:
    """The last turns, for the bake."""

    def __init__(self, size: int = 20_000) -> None:
        self._marks: deque[TurnMark] = deque(maxlen=size)
        self._seq = 0

    def add(self, epoch: int, status: int, ms: float) -> None:
        self._seq += 1
        self._marks.append(TurnMark(self._seq, epoch, status, round(ms, 3)))

    def since(self, epoch: int, after: int, limit: int = 5000) -> list[TurnMark]:
        found = [mark for mark in self._marks if mark.epoch == epoch and mark.seq > after]
        return found[:limit]
