"""The whole product with HAProxy in front."""

import json
import os
import signal
from pathlib import Path

from evolve_world import World, ask, make_world, running
from promote_rig import require_haproxy, until

from evolve.cli.doctor import check_edge

HAPROXY = "\n[edge]\nkind = 'haproxy'\nport = 0\n"


def haproxy_home(home: Path) -> World:
    world = make_world(home)
    toml = home / "evolve.toml"
    toml.write_text(toml.read_text().replace("\n[edge]\nport = 0\n", HAPROXY))
    return world


def test_the_service_starts_behind_haproxy_and_comes_back_when_it_is_killed(tmp_path: Path) -> None:
    require_haproxy()
    world = haproxy_home(tmp_path / "home")
    with running(world) as url:
        assert ask(url, ["upper hello"]) == [(200, "HELLO")]
        first = world.ok("agent", "status")["processes"]["edge"]
        assert Path(f"/proc/{first['pid']}/comm").read_text() == "haproxy\n"
        os.kill(first["pid"], signal.SIGKILL)
        status = world.home / "run" / "supervisor-status.json"
        until(lambda: json.loads(status.read_bytes())["programs"]["edge"]["starts"] == 2, 60.0)
        until(lambda: world.run("agent", "status").code == 0, 60.0)
        now = world.ok("agent", "status")
        assert not now["held"]
        assert ask(now["url"], ["upper again"], "r") == [(200, "AGAIN")]


def test_doctor_says_how_to_get_haproxy(tmp_path: Path) -> None:
    assert check_edge("embedded", None) == []
    [found] = check_edge("haproxy", None)
    assert (found.ok, found.severity) == (False, "fatal")
    assert "apt-get install haproxy" in found.detail
    [found] = check_edge("haproxy", "/usr/sbin/haproxy")
    assert found.ok
