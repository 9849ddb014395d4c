"""Making one case happen again in one sandbox, from outside, over a unix socket.

What the candidate does wrong (it dies, hangs, answers 500) is data in the `Replay`. What the arena does
wrong (the engine, the launcher, our upstream) raises RuntimeBroken: such a replay is `invalid` and is never
scored.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError

from containers.runtime import RuntimeBroken
from containers.shard import COVERAGE_FILE, UNKNOWN, ServiceFailed, Shard, Used
from containers.substrate import SubstrateManifest
from evidence.cases import CaseContent, RecordedCall, RecordedTurn
from trial.gateway import ReplayGateway
from trial.gateway.right_answer import RightAnswer
from trial.inflight import HOLD_SECONDS, UNTOLD, Told, Watch
from trial.plan import Inherited
from trial.turns import Hold, ReplayedTurn, Stop, send_turn

MAX_EVENTS = 16 << 20
_Send = Callable[[RecordedTurn, float, Hold | None], ReplayedTurn]
"""Sends one turn, within so many seconds, held half-way."""


class Stopped(Exception):
    """The caller wants no more of this replay."""


@dataclass(frozen=True)
class ReplayLimits:
    """Wall clock. A turn that took long when it was recorded may take three times that."""

    ready_seconds: float = 60.0
    """Until the service listens."""
    turn_seconds: float = 30.0
    case_seconds: float = 120.0


@dataclass(frozen=True)
class Replay:
    """What a replay left behind. `files` is valid until the shard's next case."""

    turns: tuple[ReplayedTurn, ...]
    """The prelude's, then the case's own."""
    calls: tuple[RecordedCall, ...]
    """As the gateway saw them in this replay, in start order."""
    files: Path
    """The exported state directory."""
    events: tuple[dict[str, object], ...] = ()
    """The service's own event log; lines that are no JSON object are left out."""
    misses: tuple[str, ...] = ()
    """Calls that the recording did not hold."""
    died: str = ""
    """The end of the service's output, when it did not live to the end of the case."""
    own_from: int | None = None
    """Calls of a later start order began after the case's own turn was sent. None: it never was."""
    coverage: Mapping[str, tuple[int, ...]] | None = None
    """Executed lines by file, when they were asked for and the service lived to write them."""
    ready_seconds: float = 0.0
    """Until the service listened."""
    used: Used = UNKNOWN
    """What its process had taken by the end."""
    inflight: Told = UNTOLD
    """What it said of its turns under way, where sessions were side by side."""

    @property
    def turn(self) -> ReplayedTurn:
        """The case's own turn."""
        return self.turns[-1]


def replay_case(
    shard: Shard,
    gateway: ReplayGateway,
    case: CaseContent,
    manifest: SubstrateManifest,
    *,
    seed: int,
    env: Mapping[str, str] | None = None,
    coverage: bool = False,
    limits: ReplayLimits | None = None,
    stop: Stop | None = None,
    at_once: int = 1,
    right: RightAnswer | None = None,
    inherits: Inherited | None = None,
    drain: bool = False,
) -> Replay:
    """Fresh state or what is inherited, the prelude's turns in order, then the turn; ended and exported. `at_once`: so
    many sessions side by side, each in order. `right`: what answers the own turn's model calls. `drain`: the service is
    asked to end by itself. Raises RuntimeBroken, and Stopped when `stop` was set meanwhile."""
    stop = stop or Stop()
    limits = limits or ReplayLimits()
    gateway.load(case, right)
    turns: list[ReplayedTurn] = []
    died, own_from, told = "", None, UNTOLD

    def before_last() -> None:
        """Blame asks about the case's own turn, not about boot and prelude; graders ask what it called."""
        nonlocal own_from
        own_from = gateway.mark()
        if coverage:
            shard.mark()

    began, ready = time.monotonic(), 0.0
    try:
        agent = shard.begin(
            {**(env or {}), **_birth(seed)},
            coverage,
            limits.ready_seconds,
            state=inherits.files if inherits else None,
            prepare=(manifest.migrate or ()) if inherits and inherits.migrates else (),
        )
        ready = time.monotonic() - began
        whole = (*case.prelude, case.turn)

        def send(turn: RecordedTurn, seconds: float, hold: Hold | None = None) -> ReplayedTurn:
            return send_turn(agent, turn, manifest.request_id_header, seconds, stop, hold)

        if at_once > 1:
            watch = Watch(agent, manifest.inflight)
            turns = _send_sessions(whole, limits, stop, at_once, send, watch)
            told = watch.told
        else:
            turns = _send_all(whole, limits, stop, lambda turn, left: [send(turn, left)], before_last)
    except ServiceFailed as failure:
        died = failure.log or str(failure)
        turns = [ReplayedTurn(case.turn.request_id, None, error=f"the service did not start: {failure}")]
    try:
        files = shard.end(drain)
    except ServiceFailed as failure:
        died = failure.log
        turns[-1:] = [replace(turn, status=None, reply=None, error=failure.log) for turn in turns[-1:]]
        files = Path(os.devnull)
    if stop.is_set():
        raise Stopped
    if gateway.trouble is not None:
        raise RuntimeBroken(gateway.trouble)
    return Replay(
        turns=tuple(turns),
        calls=tuple(gateway.take_log()),
        files=files,
        events=read_events(files / manifest.event_log),
        misses=gateway.misses,
        own_from=own_from,
        died=died,
        coverage=_read_coverage(files / COVERAGE_FILE) if coverage else None,
        ready_seconds=ready,
        used=shard.used,
        inflight=told,
    )


def _send_all(
    turns: Sequence[RecordedTurn],
    limits: ReplayLimits,
    stop: Stop,
    send: Callable[[RecordedTurn, float], list[ReplayedTurn]],
    before_last: Callable[[], None] = lambda: None,
) -> list[ReplayedTurn]:
    """All turns, one after another. A service that is gone, or out of time, is not asked again. `before_last` is called
    before the case's own turn."""
    answers: list[ReplayedTurn] = []
    allowed = max(limits.case_seconds, 3 * sum(turn.latency for turn in turns))
    end = time.monotonic() + allowed
    for number, turn in enumerate(turns, 1):
        if stop.is_set():
            break
        if number == len(turns):
            before_last()
        left = end - time.monotonic()
        if left <= 0:
            error = f"the case ran out of its {allowed:g} s before this turn"
            answers.append(ReplayedTurn(turn.request_id, None, error=error))
            continue
        answers += send(turn, min(left, max(limits.turn_seconds, 3 * turn.latency)))
    return answers


def _send_sessions(
    turns: Sequence[RecordedTurn], limits: ReplayLimits, stop: Stop, at_once: int, send: _Send, watch: Watch
) -> list[ReplayedTurn]:
    """As users do: the turns of one session in order, several sessions side by side; but a turn that stands there twice
    is sent twice side by side, and held half-way until the service was asked what is under way. Answers in the order of
    `turns`."""
    count = Counter(turn.request_id for turn in turns)
    order = {ident: number for number, ident in enumerate(count)}
    sessions: dict[str, dict[str, RecordedTurn]] = {}
    for turn in turns:
        sessions.setdefault(turn.session or turn.request_id, {})[turn.request_id] = turn

    def send_watched(turn: RecordedTurn, seconds: float) -> list[ReplayedTurn]:
        times = count[turn.request_id]
        if times == 1:
            with watch.turn():
                return [send(turn, seconds, None)]
        finishes: list[Callable[[], None]] = []

        def release() -> None:
            """From one thread, so that nothing comes between."""
            watch.hold()
            for finish in finishes:
                with suppress(OSError):  # its own sender finds out
                    finish()

        ready = Barrier(times, release, timeout=2 * HOLD_SECONDS)

        def hold(finish: Callable[[], None]) -> None:
            finishes.append(finish)
            with suppress(
                BrokenBarrierError
            ):  # the other never came as far, and this one gets no answer either
                ready.wait()

        def one(_: int) -> ReplayedTurn:
            try:
                return send(turn, seconds, hold)
            finally:
                ready.abort()

        with watch.turn(), ThreadPoolExecutor(times) as beside:
            return list(beside.map(one, range(times)))

    def live(session: Mapping[str, RecordedTurn]) -> list[ReplayedTurn]:
        return _send_all(tuple(session.values()), limits, stop, send_watched)

    with watch, ThreadPoolExecutor(at_once) as threads:
        answers = [answer for done in threads.map(live, sessions.values()) for answer in done]
    return sorted(answers, key=lambda answer: order[answer.request_id])


def read_events(path: Path) -> tuple[dict[str, object], ...]:
    """A candidate wrote this file: anything may stand in it, and it may not be there."""
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_EVENTS).split(b"\n")  # as intake does: no other sign ends a line
    except OSError:
        return ()
    parsed = (_object(line) for line in lines)
    return tuple(event for event in parsed if event is not None)


def _object(line: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_coverage(path: Path) -> dict[str, tuple[int, ...]] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return {
        str(file): tuple(line for line in lines if isinstance(line, int))
        for file, lines in value.items()
        if isinstance(lines, list)
    }


def _birth(seed: int) -> dict[str, str]:
    """What tells one instance from another; looks like production's, and is the same for the same seed."""
    dice = random.Random(f"boot:{seed}")
    epoch = dice.randint(1, dice.choice((40, 4000)))  # of a service that is new, and of one that is not
    return {"BOOT_NONCE": f"{dice.getrandbits(128):032x}", "INSTANCE_EPOCH": str(epoch)}
