"""Shared by the tests of the whole product: a world with two sealed batches, made once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_engine import running_engine
from evolve_world import World, ask, close_zygotes, make_world, questions, running
from gate_corpus import model
from pipeline_world import make_world as make_largest_world
from pipeline_world import with_model
from promote_rig import Images, require_haproxy

from containers.docker_options import DockerOptions
from evolve.settings import FILE_NAME
from promote.settings import EdgeKind

LONGEST = (
    "test_promote_docker.py",
    "test_promote_kills.py",
    "test_promote_bad.py",
    "test_promote_docker_trouble.py",
    "test_gate_attacks.py",
    "test_gate_fresh_cheats.py",
    "test_gate_corpus.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where files run side by side the longest begin, so that none is left running alone at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def docker_options() -> Iterator[DockerOptions]:
    """A real engine with a base image; its folder is short, for a unix socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="dockerd-") as folder, running_engine(Path(folder)) as options:
        yield options


@pytest.fixture(scope="module", params=["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest) -> DockerOptions | None:
    """Runs a test on both engines: None is bubblewrap."""
    options: DockerOptions | None = None
    if request.param == "docker":
        options = request.getfixturevalue("docker_options")
    return options


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The promoter's test images, built as they are asked for."""
    return Images(tmp_path_factory.mktemp("images"))


@pytest.fixture(params=["embedded", "haproxy"])
def edge_kind(request: pytest.FixtureRequest) -> EdgeKind:
    """Runs a test on both edges."""
    if request.param == "haproxy":
        require_haproxy()
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def sealed_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """After real traffic, a scan and two seals; its agent is stopped. Copy it, never change it."""
    world = make_world(tmp_path_factory.mktemp("evolve") / "home")
    with running(world) as url:
        assert [status for status, _ in ask(url, questions())] == [200] * len(questions())
        assert world.ok("scan")["evidence"] == 24
        for batch in world.ok("batch"):
            sealed = world.ok("batch", "seal", batch["id"], "--reason", "enough of them")
            assert (sealed["visible"] >= 2, sealed["held_out"], sealed["regression"]) == (True, 8, 30)
    yield world
    close_zygotes()


@pytest.fixture(scope="session")
def largest_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The gate corpus' substrate with a sealed batch of wrong `largest` answers, and its model. Copy it, never change it."""
    with model() as url:
        world = make_largest_world(tmp_path_factory.mktemp("largest") / "home")
        with_model(world, url)
        yield world
    close_zygotes()


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A sealed batch of wrong sums, four of them visible. Copy it, never change it."""
    world = make_world(tmp_path_factory.mktemp("sums") / "home")
    path = world.home / FILE_NAME
    path.write_text(path.read_text().replace("max_visible = 2", "max_visible = 4"))
    asked = [text for text in questions() if not text.startswith("length")]
    with running(world) as url:
        ask(url, asked)
        world.ok("scan")
        sealed = world.ok("batch", "seal", world.batch("sum"), "--reason", "enough of them")
        assert (sealed["visible"] >= 4, sealed["held_out"]) == (True, 8)
    yield world
    close_zygotes()
