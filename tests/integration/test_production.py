"""Everything in containers: `make up` on an engine of its own, used as operators and users use it, broken, taken down."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx2
import pytest
from docker_engine import ROOT, own_engine
from evolve_world import (
    COMMANDS,
    RULES,
    SETTINGS,
    Users,
    World,
    ask,
    close_zygotes,
    lay_out_broken,
    questions,
)
from promote_rig import require_haproxy, until

from containers.docker_keep import KEEPS

pytestmark = pytest.mark.docker

PRODUCTION = ROOT / "containers" / "files" / "production"
PARTS = {"database", "queue", "gateway", "edge", "promoter", "web", "worker"}
WITH_ENGINE = {"promoter", "worker"}
ON_LOOPBACK = {"edge", "web"}
WITHOUT_NETWORK = {"database", "queue", "promoter"}


@dataclass(frozen=True)
class Production:
    """One home on one engine, and `make up` and `make down` of it."""

    home: Path
    engine: docker.DockerClient
    env: dict[str, str]

    def call(self, verb: str) -> "subprocess.CompletedProcess[str]":
        return call(verb, self.env)

    def parts(self) -> dict[str, Any]:
        found = self.engine.containers.list(filters={"label": "com.docker.compose.project"})
        return {each.labels["com.docker.compose.service"]: each for each in found}

    def inside(self, part: str, *command: str) -> tuple[int, str]:
        code, output = self.parts()[part].exec_run(command)
        return int(code), output.decode()


def call(verb: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PRODUCTION, verb],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def production() -> Iterator[Production]:
    require_haproxy()
    with (
        tempfile.TemporaryDirectory(prefix="up-") as name,
        tempfile.TemporaryDirectory(prefix="upd-") as engine_folder,
        own_engine(Path(engine_folder), empty=True) as engine,
        contextlib.closing(docker.DockerClient(engine.host, timeout=120)) as client,
    ):
        folder = Path(name)
        lay_out_broken(folder / "service")
        env = {
            "DOCKER_HOST": engine.host,
            "EVOLVE_HOME": str(folder / "home"),
            "EVOLVE_PERSON": "ana",
            "EDGE_PORT": str(free_port()),
            "WEB_PORT": str(free_port()),
            "INBOX_PORT": str(free_port()),
            "INIT_FLAGS": f"--solo --from {folder / 'service'}",
        }
        made = Production(folder / "home", client, env)
        try:
            yield made
        finally:
            made.call("down")
            close_zygotes()


@pytest.mark.soak
def test_from_nothing_to_a_mended_service_and_down(production: Production) -> None:
    first = production.call("up")
    assert first.returncode == 0, first.stderr
    assert "Traceback" not in first.stderr
    edge, page = (f"http://127.0.0.1:{production.env[name]}" for name in ("EDGE_PORT", "WEB_PORT"))
    assert edge in first.stderr
    assert page in first.stderr
    passphrase = Path(f"{production.home}.passphrase").read_text()
    hardened(production)
    signs_in(page, "ana", passphrase)

    (production.home / "rules.py").write_text(RULES)
    with (production.home / "evolve.toml").open("a") as toml:
        toml.write(SETTINGS + COMMANDS + f"\n[inbox]\nport = {production.env['INBOX_PORT']}\n")
    before = {name: part.id for name, part in production.parts().items()}
    again = production.call("up")
    assert again.returncode == 0, again.stderr
    after = {name: part.id for name, part in production.parts().items()}
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"web", "worker", "ingress"}  # they read the settings

    world = World(production.home)
    comes_back(production, edge)
    hands_in(f"http://127.0.0.1:{production.env['INBOX_PORT']}/v1/inbox")
    mended(world, production, edge, passphrase)
    down(world, production, edge)


def hardened(production: Production) -> None:
    """As the engine says, and as tried from inside."""
    parts = production.parts()
    assert set(parts) == PARTS
    for name, part in parts.items():
        host, config = part.attrs["HostConfig"], part.attrs["Config"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert (host["Memory"] > 0, host["PidsLimit"] > 0, host["NanoCpus"] > 0) == (True, True, True), name
        assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        assert not host["PortBindings"], name
        assert not host["Privileged"], name
        assert (host["CapAdd"] or []) == (
            ["CHOWN", "DAC_OVERRIDE", "FOWNER"] if name in WITH_ENGINE else []
        ), name
        sockets = [m["Source"] for m in part.attrs["Mounts"] if m["Source"].endswith("/s")]
        assert bool(sockets) == (name in WITH_ENGINE), name
        assert (host["NetworkMode"] == "none") == (name in WITHOUT_NETWORK), name
        assert (host["NetworkMode"] == "host") == (name in ON_LOOPBACK), name
        assert (config["User"] == "0") == (name in {*WITH_ENGINE, "web"}), name
        secrets = [word for word in config["Env"] if re.search("PASS|SECRET|KEY|TOKEN", word)]
        assert secrets == [], name
    home = str(production.home)
    for part, hidden in (
        ("worker", f"{home}/promote/promoter.sock"),
        ("worker", f"{home}/keys/people/ana.pem"),
        ("edge", f"{home}/evolve.toml"),
        ("gateway", f"{home}/keys"),
        ("promoter", f"{home}/keys/people"),
    ):
        assert production.inside(part, "test", "-e", hidden)[0] == 1, (part, hidden)
    assert production.inside("worker", "sh", "-c", f"echo >> {home}/library/evolve/__init__.py")[0] != 0
    code, said = production.inside("gateway", "sh", "-c", "echo x > /usr/x")
    assert (code != 0, "Read-only" in said) == (True, True)


def signs_in(page: str, person: str, passphrase: str) -> None:
    with httpx2.Client(base_url=page, timeout=30, headers={"origin": page}) as http:
        found = re.search(r'name="nonce" value="([^"]+)"', http.get("/signin").text)
        assert found
        form = {"nonce": found[1], "person": person}
        assert http.post("/signin", data={**form, "passphrase": "wrong"}).status_code == 403
        found = re.search(r'name="nonce" value="([^"]+)"', http.get("/signin").text)
        assert found
        answer = http.post("/signin", data={**form, "nonce": found[1], "passphrase": passphrase})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert http.get("/").status_code == 200


def comes_back(production: Production, edge: str) -> None:
    """Whoever is killed is started again, and the service never knew."""
    for name in ("promoter", "edge", "ingress", "queue", "gateway"):
        part = production.parts()[name]
        os.kill(part.attrs["State"]["Pid"], signal.SIGKILL)

        def is_back(name: str = name, old: int = part.attrs["State"]["Pid"]) -> bool:
            state = production.parts()[name].attrs["State"] if name in production.parts() else {}
            return state.get("Pid", old) != old and state["Health"]["Status"] == "healthy"

        until(is_back, 90.0)
        assert ask(edge, [f"upper {name}"], f"after-{name}") == [(200, name.upper())]


def hands_in(inbox: str) -> None:
    turn = {"messages": [{"role": "user", "content": "upper later"}]}
    headers = {"x-request-id": "later", "x-session": "handed-in"}
    assert httpx2.post(inbox, json=turn, headers=headers).status_code == 202
    told = httpx2.get(f"{inbox}/later?wait=30", timeout=40).json()
    assert (told["state"], told["status"], "LATER" in json.dumps(told["reply"])) == ("answered", 200, True), (
        told
    )


def mended(world: World, production: Production, edge: str, passphrase: str) -> None:
    """Failures into PostgreSQL, a run through Valkey, consent, a swap under traffic, failures gone."""
    assert [status for status, _ in ask(edge, questions())] == [200] * len(questions())
    assert world.ok("scan")["evidence"] == 24
    command = (
        "/usr/lib/postgresql/15/bin/psql",
        "-h",
        f"{production.home}/run/database",
        "-U",
        "evolve",
        "-Atc",
    )
    code, said = production.inside("web", *command, "SELECT count(*) FROM evidence", "evolve")
    assert (code, said.strip()) == (0, "24"), said
    code, said = production.inside("gateway", *command, "SELECT 1", "evolve")
    assert code != 0  # it has no business there
    assert not (production.home / "evolve.db").exists()

    batch = world.batch("sum")
    world.ok("batch", "seal", batch, "--reason", "enough of them")
    run = str(world.ok("run", "start", batch, "--coder", "sum", "--reason", "complaints", "--detach")["run"])
    end = time.monotonic() + 180
    while (found := world.ok("run", "status", run)["run"])["state"] in ("queued", "running"):
        assert time.monotonic() < end, found
        time.sleep(1)
    assert found["verdict"] == "converged", found
    [candidate] = world.ok("candidate")
    words = ("--reason", "the report", "--as", "ana", "--passphrase-stdin")
    world.ok("approve", candidate["id"], *words, "--digest", candidate["image"][-8:], given=passphrase + "\n")
    with Users(edge, "during") as users:
        swap = world.ok("promote", candidate["id"])
    assert swap["state"] == "committed"
    assert (users.lost, len(users.answers) >= 50) == ([], True)
    assert ask(edge, ["add 1 2 3 4"], "mended") == [(200, "10")]


def down(world: World, production: Production, edge: str) -> None:
    refused = world.refused(1, "refused", "agent", "start")
    assert "make down" in refused["hint"]
    stopped = production.call("down")
    assert stopped.returncode == 0, stopped.stderr
    left = production.engine.containers.list(all=True)
    assert [part.name for part in left if KEEPS not in part.labels] == []
    assert all(part.short_id in stopped.stderr for part in left), stopped.stderr
    assert {network.name for network in production.engine.networks.list()} == {"host", "none"}
    assert len(production.engine.volumes.list()) == 2
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(edge)
    assert production.call("down").stderr == "nothing was running\n"
    up = production.call("up")
    assert up.returncode == 0, up.stderr
    assert ask(edge, ["add 1 2 3 4"], "kept") == [(200, "10")]
    assert len(world.ok("batch")) == 2
    assert world.ok("audit", "verify")["valid"]
    assert json.loads((production.home / "promote" / "config.json").read_text())["solo"] is True


@pytest.mark.parametrize(
    ("verb", "env", "code", "said"),
    [
        ("up", {"EVOLVE_HOME": "/tmp/a b"}, 2, "only letters"),
        ("up", {"EVOLVE_HOME": f"/tmp/{'x' * 60}"}, 2, "longer than"),
        ("down", {"DOCKER_HOST": "unix:///tmp/no/engine"}, 5, "no Docker Engine answers"),
        ("sideways", {}, 2, "up | down"),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="production is started by root")
def test_what_can_not_be_is_said_in_one_line(verb: str, env: dict[str, str], code: int, said: str) -> None:
    done = call(verb, env)
    assert (done.returncode, said in done.stderr, len(done.stderr.splitlines())) == (code, True, 1), done
