"""Replays jobs in throw-away sandboxes, several at a time, and tells a broken arena from a failed candidate.

A replay that the arena broke (RuntimeBroken: engine, launcher, upstream, grader sandbox) is tried again,
for that case alone and in a fresh sandbox; when it stays broken the trial is `invalid` with the reason,
never a failure. Results come in the order of the jobs, whatever finished first: the same plan leads to the
same decision.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from containers.runtime import EngineUnavailable, ImageMissing, Limits, Runtime, RuntimeBroken
from containers.substrate import SubstrateManifest
from trial.gateway import Cost, GatewayConfig
from trial.graders.reading import shown_reply
from trial.plan import Job, TrialCase
from trial.replay import Replay, ReplayLimits, Stopped, replay_case
from trial.report import Grade, Outcome, Trial
from trial.seats import SeatKey, Seats
from trial.turns import Stop

T = TypeVar("T")
Grader = Callable[[TrialCase, Replay], tuple[Grade, ...]]
Flagger = Callable[[TrialCase, Replay], tuple[str, ...]]

RETRY_PAUSE = 0.2


@dataclass(frozen=True)
class Played(Generic[T]):
    """One job and what was made of its replay; `value` is None when the arena broke it, `broken` then says
    how."""

    job: Job
    value: T | None
    broken: str = ""


@dataclass(frozen=True)
class _How:
    """What all replays of one call share."""

    tree: Path | None
    coverage: bool
    limits: ReplayLimits
    stop: Stop


class Arena:
    """Keeps sandboxes warm between calls; `close` leaves no process. One caller at a time."""

    def __init__(
        self,
        runtime: Runtime,
        manifest: SubstrateManifest,
        *,
        workdir: Path,
        gateway_config: GatewayConfig | None = None,
        tool_servers: Sequence[str] = (),
        workers: int = 2,
        model_name: str = "",
        retries: int = 2,
        limits: Limits | None = None,
        replay_limits: ReplayLimits | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        """`gateway_config`: upstream and servers for live misses, and their caps. `tool_servers` and
        `model_name`: what the service is told in production too. `redact`: takes the secrets out of what is
        kept of a reply."""
        self._manifest, self._retries = manifest, retries
        self._replay_limits = replay_limits or ReplayLimits()
        self._env = {"MODEL_NAME": model_name, "TOOL_SERVERS": ",".join(tool_servers)}
        self.redact = redact
        self._workers = workers
        self._seats = Seats(runtime, manifest, workdir, gateway_config, limits or Limits(), 2 * workers)
        self._stops: set[Stop] = set()
        # Sandboxes die with the thread that started them, so the threads live as long as the arena.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="arena")

    def run(
        self,
        jobs: Sequence[Job],
        grade: Grader,
        *,
        flags: Flagger | None = None,
        tree: Path | None = None,
        limits: ReplayLimits | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Trial]:
        """One Trial per job, in order. Closing the iterator stops what runs. `grade` and `flags` are called
        after the case ended, from several threads. `tree`: a worktree in place of the candidate image's
        tree."""

        def judge(job: Job, replay: Replay) -> Trial:
            return make_trial(job, replay, grade, flags, self.redact)

        for done, played in enumerate(self.play(jobs, judge, tree=tree, limits=limits), 1):
            if progress is not None:
                progress(done, len(jobs))
            yield invalid_trial(played.job, played.broken) if played.value is None else played.value

    def play(
        self,
        jobs: Sequence[Job],
        use: Callable[[Job, Replay], T],
        *,
        tree: Path | None = None,
        coverage: bool = False,
        limits: ReplayLimits | None = None,
    ) -> Iterator[Played[T]]:
        """Replay every job and hand each replay to `use` while its files are there. Raises
        EngineUnavailable and ImageMissing at once: no retry helps. `coverage`: trace lines; such replays
        are slow and never scored. `limits` override the arena's own."""
        stop = Stop()
        how = _How(tree, coverage, limits or self._replay_limits, stop)
        self._stops.add(stop)
        waiting = deque(jobs)
        under_way: deque[Future[Played[T]]] = deque()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < 2 * self._workers:
                    job = waiting.popleft()
                    under_way.append(self._threads.submit(self._work, job, use, how))
                yield under_way.popleft().result()
        finally:
            stop.set()
            running = [future for future in under_way if not future.cancel()]
            wait(running)
            self._stops.discard(stop)

    @property
    def spent(self) -> Cost:
        """What live misses cost so far."""
        return self._seats.meter.spent

    def lending(self, cost: Cost) -> AbstractContextManager[None]:
        """While the block runs, live misses leave this much of the caps to somebody else."""
        return self._seats.meter.lending(cost)

    def book(self, cost: Cost) -> None:
        """Let what was spent elsewhere count against the caps of live misses."""
        self._seats.meter.settle(Cost(), cost)

    def close(self) -> None:
        for stop in tuple(self._stops):  # of iterators that nobody read to their end
            stop.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._seats.close()

    def __enter__(self) -> "Arena":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self, job: Job, use: Callable[[Job, Replay], T], how: _How) -> Played[T]:
        broken = "stopped"
        for attempt in range(self._retries + 1):
            if how.stop.wait(attempt * RETRY_PAUSE):
                break
            try:
                return Played(job, self._attempt(job, use, how))
            except Stopped:
                break
            except (EngineUnavailable, ImageMissing):
                raise
            except RuntimeBroken as error:
                broken = str(error) or type(error).__name__
        return Played(job, None, broken)

    def _attempt(self, job: Job, use: Callable[[Job, Replay], T], how: _How) -> T:
        arm, split = job.shard
        shown = how.tree if arm == "candidate" else None
        seat = self._seats.take(SeatKey(job.digest, shown, arm, split, how.coverage))
        sound = False
        try:
            env: Mapping[str, str] = {**self._env, "IMAGE_DIGEST": job.digest}
            replay = replay_case(
                seat.shard,
                seat.gateway,
                job.case,
                self._manifest,
                seed=job.seed,
                env=env,
                coverage=how.coverage,
                limits=how.limits,
                stop=how.stop,
                at_once=job.at_once,
                right=job.right,
                inherits=job.inherits,
                drain=job.hands_on,
            )
            value = use(job, replay)
            sound = job.inherits is None  # nobody else meets what a strange state may have done to a sandbox
            return value
        except Stopped:
            sound = True
            raise
        finally:
            if sound:
                self._seats.give(seat)
            else:
                self._seats.drop(seat)


def make_trial(
    job: Job, replay: Replay, grade: Grader, flags: Flagger | None = None, redact: Callable[[str], str] = str
) -> Trial:
    """Grade a replay. A turn without a whole answer fails whatever graders think of it."""
    reply = shown_reply(replay.turn, redact)
    if replay.turn.status is None:
        return _trial(job, "fail", replay, reply, reason=replay.turn.error, flags=flags)
    grades = grade(job.case, replay)
    if not grades:
        return invalid_trial(job, "no grader judged this case")
    failed = next((one for one in grades if not one.passed), None)
    reason = "" if failed is None else f"{failed.grader}: {failed.reason}"
    return _trial(job, "pass" if failed is None else "fail", replay, reply, grades, reason, flags)


def invalid_trial(job: Job, reason: str) -> Trial:
    return Trial(
        case_id=job.case.id,
        split=job.split,
        arm=job.arm,
        digest=job.digest,
        outcome="invalid",
        seed=job.seed,
        reason=reason,
    )


def _trial(
    job: Job,
    outcome: Outcome,
    replay: Replay,
    reply: str,
    grades: tuple[Grade, ...] = (),
    reason: str = "",
    flags: Flagger | None = None,
) -> Trial:
    return Trial(
        case_id=job.case.id,
        split=job.split,
        arm=job.arm,
        digest=job.digest,
        outcome=outcome,
        grades=grades,
        latency=replay.turn.latency,
        seed=job.seed,
        reason=reason,
        reply=reply,
        flags=flags(job.case, replay) if flags else (),
    )
