"""The promoter on a real Docker Engine: the same runbook, the same kills, the same end."""

import tempfile
from pathlib import Path

import pytest
from docker_engine import own_engine
from promote_campaign import discover_in, every_point, every_strike, not_struck, run_all, violations
from promote_rig import Images, Rig
from promote_strikes import VICTIMS, Mend

from containers.docker_options import DockerOptions

pytestmark = pytest.mark.docker


def test_a_kill_at_a_twelfth_of_the_points_on_docker_ends_new_or_old(
    tmp_path: Path, docker_options: DockerOptions
) -> None:
    images = Images(tmp_path / "images", docker=docker_options)
    plans = every_point(discover_in(tmp_path / "first", images))
    assert violations(run_all(tmp_path, images, plans[::12])) == []


@pytest.mark.soak
def test_a_kill_at_every_point_on_docker_ends_new_or_old(
    tmp_path: Path, docker_options: DockerOptions
) -> None:
    images = Images(tmp_path / "images", docker=docker_options)
    points = discover_in(tmp_path / "first", images)
    results = run_all(tmp_path, images, every_point(points))
    assert violations(results) == []
    known = {name for names in points.values() for name in names} | {"BAKE.resumed"}
    assert known - {name for result in results for name in result.hit} == set()
    assert {"committed", "rolled_back", "closed", "settled"} <= {result.state for result in results}


@pytest.mark.soak
@pytest.mark.filterwarnings(
    "ignore:unclosed <socket.socket:ResourceWarning"
)  # docker-py's, where no engine answers
def test_an_engine_killed_at_every_point_ends_new_or_old(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="dk-") as folder, own_engine(Path(folder)) as engine:
        images = Images(tmp_path / "images", docker=engine.options)
        points = discover_in(tmp_path / "first", images)
        plans = every_strike(points, "engine", 2)

        def kill_engine(_: Rig) -> Mend:
            engine.kill()
            return engine.start

        victims = {**VICTIMS, "engine": kill_engine}
        results = run_all(tmp_path, images, plans, edges=("embedded",), victims=victims)
    print(f"{len(results)} swaps, {sum(len(result.hit) for result in results)} kills of the engine")
    assert violations(results) == []
    assert not_struck(points, "engine", results) == set()
