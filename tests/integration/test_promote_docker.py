"""The promoter on a real Docker Engine: the same runbook, the same kills, the same end."""

from pathlib import Path

import pytest
from promote_campaign import every_point, run_all
from promote_rig import Images

from containers.docker_options import DockerOptions

pytestmark = pytest.mark.docker


def test_a_kill_at_every_point_on_docker_ends_new_or_old(
    tmp_path: Path, docker_options: DockerOptions
) -> None:
    points, results = run_all(tmp_path, Images(tmp_path / "images", docker=docker_options), every_point)
    assert [f"{result.plan}: {problem}" for result in results for problem in result.problems] == []
    known = {name for names in points.values() for name in names} | {"BAKE.resumed"}
    assert known - {name for result in results for name in result.hit} == set()
    assert {"committed", "rolled_back", "closed", "settled"} <= {result.state for result in results}
