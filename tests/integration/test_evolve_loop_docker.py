"""The whole way on a Docker Engine: every sandbox is a container, and so is the service that is swapped."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from evolve_world import (
    APPROVER,
    PASSPHRASE,
    Users,
    World,
    ask,
    close_zygotes,
    make_world,
    questions,
    running,
)

from containers.docker_options import DockerOptions

pytestmark = pytest.mark.docker


def live_images(options: DockerOptions) -> list[str]:
    """Of every running live instance, as the engine says."""
    with contextlib.closing(docker.DockerClient(options.host)) as client:
        return [
            found.attrs["Image"] for found in client.containers.list(filters={"label": "evolve.role=live"})
        ]


@pytest.fixture
def world(docker_options: DockerOptions) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        world = make_world(Path(folder) / "home")
        toml = world.home / "evolve.toml"
        engine = f'\n[docker]\nbase_image = "{docker_options.base_image}"\nhost = "{docker_options.host}"\n'
        toml.write_text(toml.read_text() + engine)
        yield world
        close_zygotes()


def test_the_whole_way_in_containers(world: World, docker_options: DockerOptions) -> None:
    """Failures, seal, run, consent, swap under traffic: the failures are gone and no request is lost."""
    with running(world) as url:
        assert world.ok("config")["docker"]["base_image"] == docker_options.base_image
        before = ask(url, questions())
        assert [status for status, _ in before] == [200] * len(questions())
        assert world.ok("scan")["evidence"] == 24
        batch = world.batch("sum")
        world.ok("batch", "seal", batch, "--reason", "enough of them")
        run = world.ok("run", "start", batch, "--coder", "sum", "--reason", "users complain")
        assert run["verdict"] == "converged", run
        [candidate] = world.ok("candidate")
        words = ("--reason", "the report", "--as", APPROVER, "--passphrase-stdin")
        digest = ("--digest", candidate["image"][-8:])
        world.ok("approve", candidate["id"], *words, *digest, given=PASSPHRASE + "\n")
        with Users(url, "during") as users:
            swap = world.ok("promote", candidate["id"])
        assert swap["state"] == "committed"
        assert (users.lost, len(users.answers) >= 50) == ([], True)
        after = ask(url, questions(seed=100), "after")
        wanted = [str(sum(map(int, text.split()[1:]))) for text in questions(seed=100)[:12]]
        assert after[:12] == [(200, total) for total in wanted]
        assert live_images(docker_options) == [candidate["image"]]
    assert live_images(docker_options) == []
    assert world.ok("audit", "verify")["valid"]
