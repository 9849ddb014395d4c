"""What is bubblewrap's own: images and layers as folders, the record and the monitor of an instance, its groups."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers_tiny import MANIFEST, accepts, ask, bare, discard, generation, make_tree, service, until

from containers import bubblewrap
from containers.bubblewrap import BubblewrapRuntime
from containers.reaper import reap
from containers.runtime import ImageMissing, ImageRef, RuntimeBroken

Built = tuple[BubblewrapRuntime, ImageRef]


@pytest.fixture(scope="module")
def home_and_image(tmp_path_factory: pytest.TempPathFactory) -> Built:
    base = tmp_path_factory.mktemp("bubblewrap")
    return make_built(base)


@pytest.fixture
def built(home_and_image: Built) -> Iterator[Built]:
    """The engine; whatever a failing test leaves behind is killed after it."""
    yield home_and_image
    runtime, _ = home_and_image
    discard(runtime, *runtime.find({}))


def make_built(base: Path) -> Built:
    runtime = BubblewrapRuntime(base / "home")
    return runtime, runtime.build(make_tree(base / "tree"), MANIFEST)


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


def test_a_source_that_breaks_the_compiler_is_only_uncompiled(built: Built, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "t")
    (tree / "bomb.py").write_text("(" * 100_000)
    (tree / "latin.py").write_bytes(b"\xff\xfe")
    image = built[0].build(tree, MANIFEST)
    folder = built[0].home / "images" / image.digest.removeprefix("sha256:") / "app"
    assert [path.name.split(".")[0] for path in folder.rglob("*.pyc")] == ["service"]


def test_a_tampered_image_does_not_start(tmp_path: Path) -> None:
    runtime, image = make_built(tmp_path)
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


def test_logs_are_capped_say_so_and_carry_no_control_characters(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, _ = built
    monkeypatch.setattr("containers.orders.LOG_BYTES", 4000)
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
