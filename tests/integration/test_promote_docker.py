"""The promoter on a real Docker Engine: the same runbook, the same kills, the same end; the engine is a victim, too."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_engine import OwnEngine, own_engine
from promote_campaign import (
    Points,
    discover_in,
    every_point,
    every_strike,
    journaled,
    not_struck,
    run_all,
    violations,
)
from promote_rig import Images, Rig
from promote_strikes import VICTIMS, Mend

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    with tempfile.TemporaryDirectory(prefix="dk-") as folder, own_engine(Path(folder)) as started:
        yield started


@pytest.fixture(scope="module")
def images(engine: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("images"), docker=engine.options)


@pytest.fixture(scope="module")
def points(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Points:
    return discover_in(tmp_path_factory.mktemp("first"), images)


@pytest.mark.soak
def test_a_kill_at_every_point_on_docker_ends_new_or_old(
    tmp_path: Path, images: Images, points: Points
) -> None:
    results = run_all(tmp_path, images, every_point(points))
    assert violations(results) == []
    known = {name for names in points.values() for name in names} | {"BAKE.resumed"}
    assert known - {name for result in results for name in result.hit} == set()
    assert {"committed", "rolled_back", "closed", "settled"} <= {result.state for result in results}


@pytest.mark.parametrize(
    "among", [journaled, pytest.param(lambda points: points, id="every_point", marks=pytest.mark.soak)]
)
def test_an_engine_killed_behind_every_row_of_the_journal_ends_new_or_old(
    tmp_path: Path, engine: OwnEngine, images: Images, points: Points, among: Callable[[Points], Points]
) -> None:
    def kill_engine(_: Rig) -> Mend:
        engine.kill()
        return engine.start

    victims = {**VICTIMS, "engine": kill_engine}
    plans = every_strike(among(points), "engine", 3)
    results = run_all(tmp_path, images, plans, edges=("embedded",), victims=victims)
    assert violations(results) == []
    assert not_struck(among(points), "engine", results) == set()
