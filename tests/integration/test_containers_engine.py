"""Every engine, for real: build, start, adopt, drain, kill; found and stopped by others; never doubled."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from containers_tiny import (
    MANIFEST,
    SERVICE,
    accepts,
    another,
    ask,
    bare,
    build_tiny,
    discard,
    generation,
    make_tree,
    service,
    until,
)

from containers.docker_options import DockerOptions
from containers.reaper import reap
from containers.runtime import ImageMissing, ImageRef, Limits, Mount, Runtime, RuntimeBroken

Built = tuple[Runtime, ImageRef]


@pytest.fixture(scope="module")
def home_and_image(tmp_path_factory: pytest.TempPathFactory, engine: DockerOptions | None) -> Built:
    base = tmp_path_factory.mktemp("engine")
    return build_tiny(base / "home", base / "tree", engine)


@pytest.fixture
def built(home_and_image: Built) -> Iterator[Built]:
    """The engine; whatever a failing test leaves behind is killed after it."""
    yield home_and_image
    runtime, _ = home_and_image
    discard(runtime, *runtime.find({}))


def test_a_live_service_serves_beats_drains_and_keeps_its_state(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    mounts = generation(tmp_path)
    heartbeat, socket = tmp_path / "agent" / "heartbeat.json", tmp_path / "agent" / "agent.sock"
    for round_number in (1, 2):
        instance = runtime.start(image, service("agent-5", mounts))
        assert until(lambda: accepts(socket))
        assert ask(socket)["count"] == round_number
        beat = json.loads(heartbeat.read_text())
        assert (beat["epoch"], beat["digest"], beat["boot_nonce"]) == (5, image.digest, "nonce")
        assert beat["child_alive"] is True
        assert until(lambda first=beat["ts"]: json.loads(heartbeat.read_text())["ts"] > first)  # type: ignore[misc]
        runtime.stop(instance, grace=20)
        assert instance.status().exit_code == 0
        assert json.loads(heartbeat.read_text())["child_alive"] is False
        assert "drained" in runtime.logs(instance)
        runtime.remove(instance)


def test_a_generation_has_one_writer_and_one_epoch(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    mounts = generation(tmp_path)
    first = runtime.start(image, service("agent-5", mounts))
    second = runtime.start(image, service("agent-5-again", mounts))
    wrong = runtime.start(image, service("agent-6", mounts, epoch="6"))
    assert second.wait(20) == 97
    assert wrong.wait(20) == 98
    assert "already has a writer" in runtime.logs(second)
    assert until(lambda: accepts(tmp_path / "agent" / "agent.sock"))
    owner = ask(tmp_path / "agent" / "agent.sock")["uid"]
    assert (tmp_path / "data").stat().st_uid == (
        owner if os.geteuid() == 0 else os.geteuid()
    )  # untouched by the others
    runtime.kill(first)
    third = runtime.start(image, service("agent-5-again", mounts))
    assert third.status().running
    discard(runtime, first, third, wrong)


def test_the_service_cannot_touch_its_lock_or_owner(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    instance = runtime.start(image, service("agent-5", generation(tmp_path)))
    attack = """
result = []
attempts = [os.unlink, lambda p: open(p, 'w'), lambda p: os.rename(p, p + 'x'), lambda p: os.chmod(p, 0)]
for name in ('.lock', '.owner'):
    for what in attempts:
        try:
            what('/ctl/' + name)
            result.append(name)
        except OSError:
            pass
"""
    socket = tmp_path / "agent" / "agent.sock"
    assert until(lambda: accepts(socket))
    assert ask(socket, attack)["result"] == []
    discard(runtime, instance)


def test_starting_again_adopts_and_never_doubles(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    spec = service("agent-5", generation(tmp_path))
    first = runtime.start(image, spec)
    elsewhere = another(runtime)
    again = elsewhere.start(image, spec)
    assert again.status().running
    (found,) = elsewhere.find({"swap": "s"})
    assert found.digest == image.digest
    assert until(lambda: runtime.stats(first)["processes"] == 2)
    with pytest.raises(RuntimeBroken, match="already runs another image"):
        elsewhere.start(None, replace(spec, role="grader"))
    with pytest.raises(RuntimeBroken, match="still runs"):
        elsewhere.remove(found)
    elsewhere.kill(found)
    assert not first.status().running
    assert first.wait(1) == 137
    elsewhere.kill(found)
    elsewhere.remove(found)
    elsewhere.remove(found)
    assert runtime.find({"swap": "s"}) == []
    assert runtime.logs(first) == ""


def test_live_outlives_its_starter_and_is_found_and_stopped_by_another(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    mounts = generation(tmp_path)
    child = os.fork()
    if child == 0:
        try:
            another(runtime).start(image, service("agent-5", mounts))
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert reap(runtime) == []  # a live instance is nobody's leftover
    (instance,) = runtime.find({"swap": "s"})
    assert instance.status().running
    assert until(lambda: accepts(tmp_path / "agent" / "agent.sock"))
    runtime.stop(instance, grace=20)
    assert instance.status().exit_code == 0
    runtime.remove(instance)


def test_a_kill_leaves_nobody_again_and_again(built: Built, tmp_path: Path) -> None:
    """Double forks in their own sessions, deaf to signals: none of them is there after `kill`."""
    runtime, _ = built
    code = """
import os, signal, time
for number in range(4):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for deaf in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(deaf, signal.SIG_IGN)
            open('/out/%d' % os.getpid(), 'w').close()
            time.sleep(600)
        os._exit(0)
time.sleep(600)
"""
    for number in range(10):
        out = tmp_path / str(number)
        out.mkdir()
        mark = os.urandom(8).hex()
        marked = bare(f"{code}# {mark}", mounts=(Mount(out, "/out", writable=True),))
        instance = runtime.start(None, marked)
        assert until(lambda out=out: len(list(out.iterdir())) == 4)  # type: ignore[misc]
        assert len(list(_processes(mark))) >= 5
        runtime.kill(instance)
        assert list(_processes(mark)) == []
        assert runtime.stats(instance)["processes"] == 0
        runtime.remove(instance)


def _processes(mark: str) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark in path.read_text(errors="replace"):
                yield path.parent.name


def test_the_same_tree_is_the_same_image_and_comes_out_as_it_went_in(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    assert runtime.build(make_tree(tmp_path / "again"), MANIFEST) == image
    assert runtime.build(make_tree(tmp_path / "other", SERVICE + "\n"), MANIFEST) != image
    assert runtime.build(make_tree(tmp_path / "m"), MANIFEST.model_copy(update={"preload": ()})) != image
    origin = {"commit": "c0ffee", "run": "r1"}
    labelled = runtime.build(make_tree(tmp_path / "n"), MANIFEST, origin)
    assert labelled not in (image, runtime.build(make_tree(tmp_path / "o"), MANIFEST, {"commit": "c0ffee"}))
    assert labelled == runtime.build(make_tree(tmp_path / "p"), MANIFEST, dict(reversed(origin.items())))
    runtime.export(image, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["service.py"]
    assert (tmp_path / "out" / "service.py").read_text() == SERVICE
    runtime.export(image, tmp_path / "with", bytecode=True)
    (cached,) = (tmp_path / "with").rglob("*.pyc")
    assert (
        int.from_bytes(cached.read_bytes()[4:8], "little") == 0b01
    )  # by hash, never checked against the source
    with pytest.raises(RuntimeBroken, match="not empty"):
        runtime.export(image, tmp_path / "out")


def test_an_image_that_is_not_there_is_a_clear_refusal(built: Built, tmp_path: Path) -> None:
    with pytest.raises(ImageMissing, match="build it again"):
        built[0].start(ImageRef(f"sha256:{'0' * 64}"), service("agent-5", generation(tmp_path)))
    assert built[0].find({}) == []


def test_an_interactive_instance_talks_over_its_pipes(built: Built) -> None:
    runtime, _ = built
    code = """
import sys
for line in sys.stdin:
    print(line.strip()[::-1], flush=True)
print('end', file=sys.stderr)
"""
    instance = runtime.start(None, bare(code, interactive=True))
    assert instance.stdin is not None
    assert instance.stdout is not None
    instance.stdin.write(b"abc\n")
    assert instance.stdout.read(4) == b"cba\n"
    instance.stdin.close()
    assert instance.wait(20) == 0
    assert instance.stdout.read() == b""
    assert runtime.logs(instance) == "end\n"
    discard(runtime, instance)


def test_what_ends_how_is_told(built: Built) -> None:
    runtime, _ = built
    for code, expected in (
        ("raise SystemExit(5)", 5),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 15)", 143),
    ):
        instance = runtime.start(None, bare(code))
        assert instance.wait(20) == expected
        assert instance.wait(20) == expected
        discard(runtime, instance)
    instance = runtime.start(None, bare("import time; time.sleep(60)", limits=Limits(wall_seconds=0.2)))
    assert instance.wait(20) == 124
    assert "wall limit of 0.2 s reached" in runtime.logs(instance)
    discard(runtime, instance)


def test_stop_gives_grace_and_then_none(built: Built) -> None:
    runtime, _ = built
    waiting = "print('up', flush=True)\ntime.sleep(60)"
    polite = f"import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(3))\n{waiting}"
    deaf = f"import signal, time\nsignal.signal(15, signal.SIG_IGN)\n{waiting}"
    for code, grace, expected in ((polite, 20.0, 3), (deaf, 0.2, 137)):
        instance = runtime.start(None, bare(code))
        assert until(lambda instance=instance: "up" in runtime.logs(instance))  # type: ignore[misc]
        runtime.stop(instance, grace)
        assert instance.status().exit_code == expected
        discard(runtime, instance)


def test_a_mount_that_is_not_there_is_a_clear_refusal(built: Built, tmp_path: Path) -> None:
    with pytest.raises(RuntimeBroken, match="cannot mount"):
        built[0].start(None, bare("pass", mounts=(Mount(tmp_path / "nothing", "/x"),)))
    assert built[0].find({}) == []
