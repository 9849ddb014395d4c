"""What is Docker's own: images by id whatever others do to their names, and an engine that is gone or hung."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from containers_tiny import (
    MANIFEST,
    SERVICE,
    accepts,
    ask,
    discard,
    generation,
    make_tree,
    service,
    shard,
    until,
)

from containers import docker_engine
from containers.docker_engine import DockerRuntime
from containers.docker_options import DockerOptions
from containers.doctor import check_engine
from containers.engine import get_runtime
from containers.runtime import EngineUnavailable, ImageMissing, ImageRef

pytestmark = pytest.mark.docker


STARTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from containers_tiny import generation, service
from containers.docker_engine import DockerRuntime
from containers.docker_options import DockerOptions
from containers.runtime import ImageRef
runtime = DockerRuntime(Path(sys.argv[2]), DockerOptions.model_validate_json(sys.argv[3]))
runtime.start(ImageRef(sys.argv[4]), service("agent-5", generation(Path(sys.argv[5]))))
"""


@pytest.fixture
def runtime(tmp_path: Path, docker_options: DockerOptions) -> Iterator[DockerRuntime]:
    one = DockerRuntime(tmp_path / "home", docker_options)
    yield one
    discard(one, *one.find({}))


@pytest.fixture
def image(runtime: DockerRuntime, tmp_path: Path) -> ImageRef:
    return runtime.build(make_tree(tmp_path / "tree"), MANIFEST)


@pytest.fixture
def engine_process(docker_options: DockerOptions) -> int:
    """The daemon's own pid, where it is ours."""
    socket = (docker_options.host or "").removeprefix("unix://")
    pidfile = Path(socket).with_name("p")
    if not pidfile.exists():
        pytest.skip("this Docker Engine is not the tests' own")
    return int(pidfile.read_text())


@contextlib.contextmanager
def client(options: DockerOptions) -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.DockerClient(options.host, timeout=60)) as one:
        yield one


def names(options: DockerOptions, image: ImageRef) -> list[str]:
    with client(options) as one:
        return list(one.images.get(image.digest).tags)


def test_what_runs_is_the_id_whatever_its_name_points_at(
    runtime: DockerRuntime, image: ImageRef, docker_options: DockerOptions, tmp_path: Path
) -> None:
    other = runtime.build(make_tree(tmp_path / "other", SERVICE.replace('"uid"', '"evil"')), MANIFEST)
    (name,) = names(docker_options, image)
    with client(docker_options) as one:
        one.images.get(other.digest).tag(name)
    instance = runtime.start(image, service("agent-5", generation(tmp_path)))
    assert until(lambda: accepts(tmp_path / "agent" / "agent.sock"))
    answer = ask(tmp_path / "agent" / "agent.sock")
    assert "uid" in answer
    assert answer["env"]["IMAGE_DIGEST"] == image.digest
    (found,) = runtime.find({})
    assert found.digest == image.digest
    discard(runtime, instance)


def test_an_image_survives_a_prune_and_is_missed_once_it_is_removed(
    runtime: DockerRuntime, image: ImageRef, docker_options: DockerOptions, tmp_path: Path
) -> None:
    with client(docker_options) as one:
        one.images.prune(filters={"dangling": True})
        runtime.export(image, tmp_path / "out")
        one.images.remove(image.digest, force=True)
    with pytest.raises(ImageMissing, match="build it again"):
        runtime.start(image, service("agent-5", generation(tmp_path)))
    assert runtime.find({}) == []
    again = runtime.build(tmp_path / "tree", MANIFEST)
    assert again == image  # the same bytes are the same image, also for another engine


def test_an_image_says_where_it_comes_from(
    runtime: DockerRuntime, docker_options: DockerOptions, tmp_path: Path
) -> None:
    origin = {"commit": "c0ffee", "run": "r1", "batch": "b1"}
    image = runtime.build(make_tree(tmp_path / "labelled"), MANIFEST, origin)
    with client(docker_options) as one:
        labels = one.images.get(image.digest).labels
    prefix = "evolve.engine.image."
    shown = {name.removeprefix(prefix): text for name, text in labels.items() if name.startswith(prefix)}
    assert shown == {**origin, "state.reads": "1", "state.writes": "1"}


def test_an_image_of_somebody_else_does_not_start(
    runtime: DockerRuntime, docker_options: DockerOptions, tmp_path: Path
) -> None:
    with client(docker_options) as one:
        stranger = str(one.images.get(docker_options.base_image).id)
    with pytest.raises(ImageMissing, match="not built by this product"):
        runtime.start(ImageRef(stranger), service("agent-5", generation(tmp_path)))
    with pytest.raises(ImageMissing, match="not an image's id"):
        runtime.start(ImageRef(docker_options.base_image), service("agent-5", generation(tmp_path)))


def test_homes_on_one_engine_do_not_see_each_other(
    runtime: DockerRuntime, image: ImageRef, docker_options: DockerOptions, tmp_path: Path
) -> None:
    neighbour = DockerRuntime(tmp_path / "elsewhere", docker_options)
    with shard(runtime, image, tmp_path / "w") as one:
        one.begin({"MODEL_NAME": "m"})
        assert len(runtime.find({})) == 1
        assert neighbour.find({}) == []
        assert neighbour.orphans() == []


def test_the_daemon_says_that_every_wall_stands(
    runtime: DockerRuntime, image: ImageRef, docker_options: DockerOptions, tmp_path: Path
) -> None:
    instance = runtime.start(image, service("agent-5", generation(tmp_path)))
    assert isinstance(instance, docker_engine.DockerInstance)
    with client(docker_options) as one:
        seen = one.api.inspect_container(instance.container)
    host = seen["HostConfig"]
    assert seen["Image"] == image.digest
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Privileged"], host["ReadonlyRootfs"], host["NetworkMode"]) == (False, True, "none")
    assert host["PidsLimit"] > 0
    assert host["Memory"] == host["MemorySwap"] > 0
    assert seen["Config"]["User"].split(":")[0] not in ("", "0")
    writable = {mount["Destination"] for mount in seen["Mounts"] if mount["RW"]}
    assert writable == {"/state", "/run/agent"}
    assert not any("docker.sock" in mount["Source"] for mount in seen["Mounts"])
    discard(runtime, instance)


def test_a_hung_engine_is_a_broken_arena_within_a_deadline(
    runtime: DockerRuntime,
    image: ImageRef,
    engine_process: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker_engine, "CALL_SECONDS", 1)
    hasty = DockerRuntime(runtime.home, runtime.options)
    spec = service("agent-5", generation(tmp_path))
    instance = hasty.start(image, spec)
    os.kill(engine_process, signal.SIGSTOP)
    try:
        for call in (lambda: hasty.start(image, spec), lambda: hasty.find({}), instance.status):
            with pytest.raises(EngineUnavailable, match="no Docker Engine answers"):
                call()
        assert until(lambda: accepts(tmp_path / "agent" / "agent.sock"))  # the service goes on meanwhile
    finally:
        os.kill(engine_process, signal.SIGCONT)
    (found,) = runtime.find({})
    assert found.status().running
    discard(runtime, found)


def test_an_engine_that_is_not_there_is_one_line_and_never_another_sandbox(tmp_path: Path) -> None:
    options = DockerOptions(base_image="x", host=f"unix://{tmp_path}/nothing")
    with pytest.raises(
        EngineUnavailable, match="No such file or directory; start it, or set \\[docker\\] host"
    ) as refused:
        get_runtime("auto", tmp_path / "home", options)
    assert "\n" not in str(refused.value)
    (finding,) = check_engine(tmp_path / "home", docker=options)
    assert (finding.ok, finding.severity) == (False, "fatal")
    with pytest.raises(EngineUnavailable, match="base_image"):
        get_runtime("docker", tmp_path / "home")


def test_a_base_image_that_is_not_there_is_said(tmp_path: Path, docker_options: DockerOptions) -> None:
    options = docker_options.model_copy(update={"base_image": "nothing:here"})
    with pytest.raises(ImageMissing, match="the base image nothing:here"):
        DockerRuntime(tmp_path / "home", options)


def test_a_name_is_one_container(runtime: DockerRuntime, image: ImageRef, tmp_path: Path) -> None:
    """Eight starters at once: one container, whoever won."""
    generation(tmp_path)
    told = [str(runtime.home), runtime.options.model_dump_json(), image.digest, str(tmp_path)]
    command = [sys.executable, "-c", STARTER, str(Path(__file__).parent), *told]
    starters = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(8)]
    for starter in starters:
        starter.wait(120)
    (found,) = runtime.find({})
    assert found.status().running
    discard(runtime, found)


def test_the_base_can_be_made_where_no_registry_answers(tmp_path: Path) -> None:
    """An archive that is there is kept; without root or debootstrap one line says so."""
    script = Path(docker_engine.__file__).parent / "files" / "make-base"
    archive = tmp_path / "base.tar"
    archive.write_bytes(b"kept")
    subprocess.run([str(script), str(archive)], check=True)
    assert archive.read_bytes() == b"kept"
    environment = {"PATH": "/nowhere"}
    refused = subprocess.run(
        ["/bin/sh", str(script), str(tmp_path / "other.tar")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 5
    assert "debootstrap is missing" in refused.stderr
    assert not (tmp_path / "other.tar").exists()
