"""The trial launcher, for real: fresh state for every case, nothing of one case reaches the next."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers_tiny import MANIFEST, SERVICE, another, ask, build_tiny, environment, make_tree, shard, until

from containers.docker_options import DockerOptions
from containers.runtime import ImageRef, Limits, Runtime, RuntimeBroken
from containers.shard import ServiceFailed, Shard

Built = tuple[Runtime, ImageRef]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, engine: DockerOptions | None) -> Built:
    base = tmp_path_factory.mktemp("launcher")
    return build_tiny(base / "home", base / "tree", engine)


@pytest.fixture
def running(built: Built, tmp_path: Path) -> Iterator[Shard]:
    with shard(*built, tmp_path) as one:
        yield one


def test_each_case_starts_from_fresh_state_and_its_files_come_out(running: Shard) -> None:
    for _ in range(3):
        socket = running.begin(environment())
        assert [ask(socket)["count"] for _ in range(2)] == [1, 2]
        out = running.end()
        assert (out / "count").read_text() == "2"


def test_a_case_can_begin_with_what_another_left(running: Shard, tmp_path: Path) -> None:
    large = "open(os.environ['STATE_DIR'] + '/large', 'wb').write(bytes(range(256)) * 40_000); result = 1"
    socket = running.begin(environment())
    ask(socket, large)
    ask(socket, "import atexit; atexit.register(open, os.environ['STATE_DIR'] + '/drained', 'w')")
    ask(socket)
    left = tmp_path / "left"
    shutil.copytree(running.end(drain=True), left)
    (left / "deep" / "er").mkdir(parents=True)
    (left / "deep" / "er" / "empty").touch()
    seen = "result = sorted(os.listdir(os.environ['STATE_DIR']))"
    prepare = ("python", "-c", "import os; open(os.environ['STATE_DIR'] + '/prepared', 'w').close()")
    for wanted in (["count", "deep", "drained", "large", "prepared"],) * 2:
        socket = running.begin(environment(), state=left, prepare=prepare)
        assert ask(socket, seen)["result"] == wanted
        assert ask(socket)["count"] == int((left / "count").read_text()) + 1
        out = running.end()
        assert (out / "large").read_bytes() == (left / "large").read_bytes()
        assert (out / "deep" / "er" / "empty").read_bytes() == b""
    with pytest.raises(ServiceFailed):
        running.begin(environment(), state=left, prepare=("false",))
    running.end()
    assert ask(running.begin(environment()))["count"] == 1, "fresh again"


def test_the_service_sees_the_neutral_environment_and_nothing_of_the_hosts(running: Shard) -> None:
    seen = ask(running.begin(environment(INSTANCE_EPOCH="7")))["env"]
    assert seen["AGENT_SOCKET"] == "/run/agent/agent.sock"
    assert seen["STATE_DIR"] == "/state"
    assert seen["INSTANCE_EPOCH"] == "7"
    assert seen["IMAGE_DIGEST"].startswith("sha256:")
    made = "HOME LANG PATH PYTHONDONTWRITEBYTECODE PYTHONPATH TZ"
    contract = "AGENT_SOCKET STATE_DIR GATEWAY_SOCKET MODEL_NAME INSTANCE_EPOCH IMAGE_DIGEST BOOT_NONCE"
    assert set(seen) == {*made.split(), *contract.split()}


def test_nothing_carries_over_to_the_next_case(running: Shard) -> None:
    plant = """
import signal, socket
for place in ('/state', '/tmp', '/run/agent', '/dev/shm'):
    os.makedirs(place + '/a/b/c', exist_ok=True)
    open(place + '/note', 'w').write('left by another case')
    os.symlink('/etc/passwd', place + '/link')
    os.chmod(place + '/a/b', 0)
if os.fork() == 0:
    os.setsid()
    for number in range(1, 32):
        try: signal.signal(number, signal.SIG_IGN)
        except OSError: pass
    keep = socket.socket(socket.AF_UNIX); keep.bind('\\0note'); keep.listen()
    time.sleep(600)
result = 'planted'
"""
    look = """
import socket
found = [p + '/' + n for p in ('/state', '/tmp', '/run/agent', '/dev/shm') for n in os.listdir(p)]
found = [f for f in found if f not in ('/run/agent/agent.sock', '/run/agent/heartbeat.json')]
others = [n for n in os.listdir('/proc') if n.isdecimal() and int(n) not in (1, os.getpid())]
try:
    probe = socket.socket(socket.AF_UNIX); probe.connect('\\0note'); found.append('socket')
except OSError: pass
result = found + others
"""
    assert ask(running.begin(environment()), plant)["result"] == "planted"
    out = running.end()
    assert not (out / "link").exists()
    assert (out / "note").read_text() == "left by another case"  # /state's own note, exported by PID 1
    assert ask(running.begin(environment()), look)["result"] == []
    running.end()


def test_a_service_that_dies_is_the_services_failure(running: Shard) -> None:
    with pytest.raises(ServiceFailed) as failed:
        running.begin({"MODEL_NAME": "broken"})
    assert failed.value.exit_code == 3
    assert "cannot go on" in failed.value.log
    assert ask(running.begin(environment()))["count"] == 1  # and the launcher goes on


def test_a_service_that_never_listens_is_the_services_failure(built: Built, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", "import time\ntime.sleep(600)\n")
    with (
        shard(*built, tmp_path / "w", tree=tree, ready_seconds=0.3) as one,
        pytest.raises(ServiceFailed) as failed,
    ):
        one.begin(environment())
    assert "never listened" in failed.value.log


def test_a_launcher_that_is_killed_is_a_broken_arena(built: Built, tmp_path: Path) -> None:
    with shard(*built, tmp_path) as one:
        one.begin(environment())
        (instance,) = built[0].find({"t": "1"})
        built[0].kill(instance)
        with pytest.raises(RuntimeBroken, match="launcher"):
            one.end()


def test_a_case_cannot_stop_the_launcher(running: Shard) -> None:
    attack = """
import signal, resource
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
    os.kill(1, number)
try: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)); result = 'limited'
except OSError: result = 'refused'
"""
    for _ in range(20):  # a signal may reach PID 1 after the case has ended
        assert ask(running.begin(environment()), attack)["result"] == "refused"
        running.end()
    assert ask(running.begin(environment()))["count"] == 1


def test_a_fork_bomb_ends_with_its_case(built: Built, tmp_path: Path) -> None:
    bomb = """
for _ in range(500):
    try:
        if os.fork() == 0:
            time.sleep(600)
    except OSError:
        break
result = 'bombed'
"""
    with shard(*built, tmp_path, limits=Limits(processes=40)) as one:
        ask(one.begin(environment()), bomb)
        (instance,) = built[0].find({"t": "1"})
        assert built[0].stats(instance)["processes"] <= 42
        one.end()
        assert built[0].stats(instance)["processes"] == 1
        assert ask(one.begin(environment()))["count"] == 1


def test_checks_run_in_fresh_state_with_their_exit_and_output(running: Shard) -> None:
    assert running.run(("python", "-c", "print('hello'); raise SystemExit(4)"), {}, 20) == (4, "hello\n")
    code, said = running.run(("python", "-m", "json.tool", "--help"), {}, 20)
    assert code == 0
    assert "usage" in said
    assert running.run(("python", "-c", "import time; time.sleep(60)"), {}, 0.2)[0] is None
    code, said = running.run(("/bin/nothing",), {}, 5)
    assert code == 127
    assert "cannot run" in said


def test_candidate_code_is_never_imported_by_the_launcher(built: Built, tmp_path: Path) -> None:
    """A tree that shadows a preloaded module gets nowhere near PID 1; children see /app first."""
    tree = make_tree(tmp_path / "tree")
    (tree / "http").mkdir()
    (tree / "http" / "__init__.py").write_text("raise SystemExit('shadowed')")
    (tree / "colorsys.py").write_text("mine = True")
    with shard(*built, tmp_path / "w", tree=tree) as one:
        assert ask(one.begin(environment()), "import colorsys; result = colorsys.mine")["result"] is True


def test_coverage_lists_the_lines_that_ran(running: Shard) -> None:
    socket = running.begin(environment(), coverage=True)
    ask(socket)
    out = running.end()
    lines = json.loads((out / "coverage.json").read_text())
    assert set(lines) == {"service.py"}
    source = SERVICE.splitlines()
    ran = {source[number - 1].strip() for number in lines["service.py"]}
    assert "value = int(open(path).read()) + 1 if os.path.exists(path) else 1" in ran
    assert "raise SystemExit(3)" not in ran
    assert (out / "count").read_text() == "1"
    running.begin(environment())
    assert not (running.end() / "coverage.json").exists()


def test_too_much_state_is_never_taken_for_whole(running: Shard) -> None:
    ask(running.begin(environment()), "open('/state/big', 'wb').truncate(100 << 20); result = 1")
    with pytest.raises(ServiceFailed):
        running.end()
    assert ask(running.begin(environment()))["count"] == 1


def test_a_link_in_place_of_the_socket_is_refused(built: Built, tmp_path: Path) -> None:
    made = 'Server(os.environ["AGENT_SOCKET"], Handler)'
    swap = SERVICE.replace(made, "Server('/run/agent/x', Handler); os.symlink('x', '/run/agent/agent.sock')")
    tree = make_tree(tmp_path / "tree", swap)
    with shard(*built, tmp_path / "w", tree=tree) as one, pytest.raises(ServiceFailed) as failed:
        one.begin(environment())
    assert "not a socket" in failed.value.log


def test_a_path_too_long_for_a_socket_is_said(built: Built, tmp_path: Path) -> None:
    with pytest.raises(RuntimeBroken, match="too long"), shard(*built, tmp_path / ("x" * 90)):
        pass


def test_a_shard_dies_with_its_caller(built: Built, tmp_path: Path) -> None:
    """The caller is killed the hard way; its sandbox notices and the reaper clears the rest."""
    from containers.reaper import reap

    runtime, image = built
    child = os.fork()
    if child == 0:
        try:
            other = another(runtime)
            work = {"workdir": tmp_path, "gateway_dir": None}
            one = Shard(other, image, MANIFEST, name="orphan", labels={"t": "orphan"}, **work)
            one.begin(environment())
            (tmp_path / "up").touch()
            signal.pause()
        finally:
            os._exit(1)
    assert until(lambda: (tmp_path / "up").exists())
    (instance,) = runtime.find({"t": "orphan"})
    assert instance.status().running
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert until(lambda: not instance.status().running)
    assert reap(runtime) == ["orphan"]
    assert runtime.find({"t": "orphan"}) == []
