"""The engine, for real: build, start, adopt, drain, kill; found and stopped by others; never doubled."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from containers_tiny import MANIFEST, SERVICE, accepts, ask, build_tiny, make_tree, until

from containers import bubblewrap
from containers.bubblewrap import BubblewrapRuntime
from containers.reaper import reap
from containers.runtime import ImageMissing, ImageRef, Instance, InstanceSpec, Limits, Mount, RuntimeBroken

Built = tuple[BubblewrapRuntime, ImageRef]


@pytest.fixture(scope="module")
def home_and_image(tmp_path_factory: pytest.TempPathFactory) -> Built:
    base = tmp_path_factory.mktemp("engine")
    return build_tiny(base / "home", base / "tree")


@pytest.fixture
def built(home_and_image: Built) -> Iterator[Built]:
    """The engine; whatever a failing test leaves behind is killed after it."""
    yield home_and_image
    runtime, _ = home_and_image
    discard(runtime, *runtime.find({}))


def generation(folder: Path, owner: str = "5") -> tuple[Mount, ...]:
    for name in ("data", "ctl", "agent"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "ctl" / ".owner").write_text(owner)
    (folder / "ctl" / ".lock").touch(mode=0o600)
    return (
        Mount(folder / "data", "/state", writable=True),
        Mount(folder / "ctl", "/ctl"),
        Mount(folder / "agent", "/run/agent", writable=True),
    )


def service(name: str, mounts: tuple[Mount, ...], epoch: str = "5") -> InstanceSpec:
    env = {
        "AGENT_SOCKET": "/run/agent/agent.sock",
        "STATE_DIR": "/state",
        "INSTANCE_EPOCH": epoch,
        "BOOT_NONCE": "nonce",
    }
    return InstanceSpec(
        name=name,
        role="live",
        argv=("@serve",),
        env=env,
        mounts=mounts,
        labels={"swap": "s"},
        survives_caller=True,
    )


def bare(code: str, name: str = "bare", **more: object) -> InstanceSpec:
    spec = InstanceSpec(name=name, role="grader", argv=("python", "-I", "-S", "-c", code), workdir="/")
    return replace(spec, **more)  # type: ignore[arg-type]


def discard(runtime: BubblewrapRuntime, *instances: Instance) -> None:
    for instance in instances:
        runtime.kill(instance)
        runtime.remove(instance)


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
    elsewhere = BubblewrapRuntime(runtime.home)
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
            BubblewrapRuntime(runtime.home).start(image, service("agent-5", mounts))
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


@pytest.mark.parametrize("moment", ["before the record", "after the record"])
def test_a_starter_killed_half_way_leaves_nothing_running(built: Built, tmp_path: Path, moment: str) -> None:
    """Also for an instance that should survive its caller: without orders PID 1 runs nothing."""
    runtime, image = built
    spec = service("agent-5", generation(tmp_path))
    child = os.fork()
    if child == 0:
        try:
            dying = BubblewrapRuntime(runtime.home)
            register = dying._register

            def die(*arguments: object) -> object:
                if moment == "after the record":
                    register(*arguments)  # type: ignore[arg-type]
                (tmp_path / "child").write_text(str(arguments[-1]))
                os.kill(os.getpid(), signal.SIGKILL)
                return {}

            dying._register = die  # type: ignore[assignment,method-assign]
            dying.start(image, spec)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    init = json.loads((tmp_path / "child").read_text().replace("(", "[").replace(")", "]"))[0]
    assert until(lambda: not Path(f"/proc/{init}").exists())
    assert not (tmp_path / "data" / "count").exists()
    reap(runtime)
    fresh = runtime.start(image, spec)
    assert fresh.status().running
    discard(runtime, fresh)


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
        instance = runtime.start(None, bare(code, mounts=(Mount(out, "/out", writable=True),)))
        assert until(lambda out=out: len(list(out.iterdir())) == 4)  # type: ignore[misc]
        before = {
            path for path in Path("/proc").glob("[0-9]*") if _namespace(path) == _namespace_of(instance)
        }
        assert len(before) >= 5
        runtime.kill(instance)
        assert not [path for path in before if path.exists() and "sleep" in (path / "cmdline").read_text()]
        assert runtime.stats(instance)["processes"] == 0
        runtime.remove(instance)


def _namespace(process: Path) -> str:
    try:
        return os.readlink(process / "ns" / "pid")
    except OSError:
        return "gone"


def _namespace_of(instance: Instance) -> str:
    assert isinstance(instance, bubblewrap.BubblewrapInstance)
    return _namespace(Path(f"/proc/{instance.record.init.pid}"))


def test_the_same_tree_is_the_same_image_and_bytecode_is_ours(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    assert runtime.build(make_tree(tmp_path / "again"), MANIFEST) == image
    other = runtime.build(make_tree(tmp_path / "other", SERVICE + "\n"), MANIFEST)
    assert other != image
    assert runtime.build(make_tree(tmp_path / "m"), MANIFEST.model_copy(update={"preload": ()})) != image
    folder = runtime.home / "images" / image.digest.removeprefix("sha256:") / "app"
    (cached,) = folder.rglob("*.pyc")
    assert (
        int.from_bytes(cached.read_bytes()[4:8], "little") == 0b01
    )  # hash-based, never checked against the source
    assert (folder / "service.py").stat().st_uid == os.geteuid()
    runtime.export(image, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["service.py"]
    with pytest.raises(RuntimeBroken, match="not empty"):
        runtime.export(image, tmp_path / "out")


def test_a_source_that_breaks_the_compiler_is_only_uncompiled(built: Built, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "t")
    (tree / "bomb.py").write_text("(" * 100_000)
    (tree / "latin.py").write_bytes(b"\xff\xfe")
    image = built[0].build(tree, MANIFEST)
    folder = built[0].home / "images" / image.digest.removeprefix("sha256:") / "app"
    assert [path.name.split(".")[0] for path in folder.rglob("*.pyc")] == ["service"]


def test_a_tampered_image_does_not_start(tmp_path: Path) -> None:
    runtime, image = build_tiny(tmp_path / "home", tmp_path / "tree")
    (cached,) = (tmp_path / "home" / "images").rglob("*.pyc")
    cached.chmod(0o644)
    cached.write_bytes(cached.read_bytes()[:-1] + b"!")
    with pytest.raises(ImageMissing, match="damaged"):
        runtime.start(image, service("agent-5", generation(tmp_path)))
    assert runtime.find({}) == []


def test_links_are_refused_and_nothing_half_built_stays(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "t")
    (tree / "secret").symlink_to("/etc/shadow")
    runtime = BubblewrapRuntime(tmp_path / "home")
    with pytest.raises(RuntimeBroken, match="no links"):
        runtime.build(tree, MANIFEST)
    assert not (tmp_path / "home" / "images").exists()


def make_wheel(folder: Path, name: str, source: str) -> str:
    """A wheel by hand; its sha256."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        sha = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={sha},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_a_layer_comes_from_the_substrates_own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = tmp_path / "house"
    house.mkdir()
    sha = make_wheel(house, "tinydep", "ANSWER = 42\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    tree = make_tree(tmp_path / "t")
    (tree / "requirements.lock").write_text(f"tinydep==1.0 --hash=sha256:{sha}\n")
    manifest = MANIFEST.model_copy(update={"lock_file": "requirements.lock", "preload": ("tinydep",)})
    runtime = BubblewrapRuntime(tmp_path / "home")
    image = runtime.build(tree, manifest)
    instance = runtime.start(image, service("agent-5", generation(tmp_path)))
    socket = tmp_path / "agent" / "agent.sock"
    assert until(lambda: accepts(socket))
    look = """
import importlib.util, tinydep
others = [name for name in ('pytest', 'pydantic', 'pip') if importlib.util.find_spec(name)]
result = [tinydep.ANSWER, tinydep.__file__, others]
"""
    assert ask(socket, look)["result"] == [42, "/deps/tinydep/__init__.py", []]
    discard(runtime, instance)
    (tree / "requirements.lock").write_text(f"tinydep==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(RuntimeBroken, match="cannot install"):
        runtime.build(tree, manifest)
    assert len(list((tmp_path / "home" / "layers").iterdir())) == 1
    (pinned,) = (tmp_path / "home" / "layers").rglob("tinydep/__init__.py")
    pinned.chmod(0o644)
    pinned.write_text("ANSWER = 41\n")
    with pytest.raises(ImageMissing, match="damaged"):
        runtime.start(image, service("agent-5", generation(tmp_path)))


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


def test_a_service_outlives_its_monitor_only_its_exit_code_is_lost(built: Built, tmp_path: Path) -> None:
    runtime, image = built
    instance = runtime.start(image, service("agent-5", generation(tmp_path)))
    assert isinstance(instance, bubblewrap.BubblewrapInstance)
    assert until(lambda: accepts(tmp_path / "agent" / "agent.sock"))
    os.kill(instance.record.monitor.pid, signal.SIGKILL)
    assert until(lambda: not instance.record.monitor.alive())
    assert instance.status().running
    assert ask(tmp_path / "agent" / "agent.sock")["count"] == 1
    runtime.stop(instance, grace=20)
    assert "drained" in runtime.logs(instance)
    assert instance.status().exit_code == bubblewrap.EXIT_UNKNOWN


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


def test_logs_are_capped_say_so_and_carry_no_control_characters(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, _ = built
    monkeypatch.setattr("containers.launch.LOG_BYTES", 4000)
    code = "print('\\x1b[31mfirst\\x00'); [print('line', n) for n in range(5000)]"
    instance = runtime.start(None, bare(code))
    assert instance.wait(20) == 0
    said = runtime.logs(instance, 100_000)
    assert len(said) <= 4100
    assert said.startswith("[shim] earlier output was cut here")
    assert said.endswith("line 4999\n")
    assert "\x1b" not in said
    discard(runtime, instance)
    instance = runtime.start(None, bare("print('\\x1b]0;x\\x07\\x9bhello\\tworld')"))
    assert instance.wait(20) == 0
    assert runtime.logs(instance) == "]0;xhello\tworld\n"
    discard(runtime, instance)


def test_a_mount_that_is_not_there_is_a_clear_refusal(built: Built, tmp_path: Path) -> None:
    with pytest.raises(RuntimeBroken, match="cannot mount"):
        built[0].start(None, bare("pass", mounts=(Mount(tmp_path / "nothing", "/x"),)))
    assert built[0].find({}) == []


def test_groups_and_folders_of_the_gone_are_removed(built: Built) -> None:
    runtime, _ = built
    instance = runtime.start(None, bare("import time; time.sleep(60)"))
    assert isinstance(instance, bubblewrap.BubblewrapInstance)
    folders = [Path(folder) for folder in instance.record.cgroups]
    assert all(folder.is_dir() for folder in folders)
    assert len(folders) == len(runtime.groups)
    discard(runtime, instance)
    assert not any(folder.exists() for folder in folders)
    assert not list((runtime.home / "run" / "instances").glob("bare*"))


def test_a_half_made_build_of_the_dead_is_cleared_and_of_the_living_is_not(built: Built) -> None:
    runtime, _ = built
    dead = subprocess.run(
        [sys.executable, "-S", "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    gone = runtime.home / "images" / f".build-{dead.stdout.strip()}-1-x"
    mine = runtime.home / "images" / f".build-{os.getpid()}-{_started()}-x"
    for folder in (gone, mine):
        folder.mkdir()
    assert reap(runtime) == [gone.name]
    assert not gone.exists()
    assert mine.exists()
    mine.rmdir()


def _started() -> int:
    return int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
