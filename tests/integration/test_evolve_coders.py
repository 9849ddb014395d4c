"""A run whose coder is a real coding CLI: through its gateway to a candidate; and what money and a wrong key do to it."""

import json
from pathlib import Path

import pytest
from coder_bench import require
from coder_clis import CLIS
from evolve_world import World
from model_server import KEY, Script, model_server

from evolve.coding.steps import Edit, Fault, Read, Say
from evolve.settings import FILE_NAME

FILE = "service/turns.py"
MEND = (Read(FILE), Edit(FILE, "text.split()[:3]", "text.split()"), Say("Mended."))


@pytest.fixture
def world(sealed_world: World, tmp_path: Path) -> World:
    require("codex")
    return sealed_world.copy(tmp_path / "home")


def configure(world: World, url: str, folder: Path) -> None:
    (folder / "key").write_text(KEY)
    table = {
        "kind": "codex",
        "program": str(CLIS["codex"].path),
        "model": "m-1",
        "base_url": url,
        "api_key_file": str(folder / "key"),
        "usd_micros_per_million_input": 1_000_000,
        "usd_micros_per_million_output": 1_000_000,
        "patience_seconds": 5,
    }
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
    path = world.home / FILE_NAME
    path.write_text(
        path.read_text().replace("coder_seconds = 30", "coder_seconds = 300") + "\n[coders.codex]\n" + lines
    )


def test_a_cli_mends_what_users_met(world: World, tmp_path: Path) -> None:
    script = Script([Say("Shall I edit turns.py?")], rules=[("was written anew", MEND)])
    with model_server(script) as url:
        configure(world, url, tmp_path)
        [found] = [
            f for f in json.loads(world.run("doctor", "--quick", "--json").out) if f["name"] == "coder.codex"
        ]
        assert (found["ok"], CLIS["codex"].version in found["detail"]) == (True, True)
        run = world.ok("run", "start", world.batch("sum"), "--coder", "codex", "--reason", "users complain")
    assert run["verdict"] == "converged", run
    assert run["tokens"] == 120 * len(script.requests)  # a question, and four turns after it
    assert run["usd_micros"] == run["tokens"]
    assert set(script.keys) == {KEY}
    asked = json.dumps([body for _, body in script.requests])
    assert "add 0 0 5 1" not in asked  # evidence is in files, and this model read none of them
    [log] = (world.home / "runs" / run["id"]).glob("implement-audit-*/calls.jsonl")
    assert len(log.read_text().splitlines()) == len(script.requests)
    assert log.stat().st_mode & 0o077 == 0


def test_a_wrong_key_is_no_failed_fix_and_a_cap_ends_the_run(world: World, tmp_path: Path) -> None:
    with model_server(Script([Fault("bad_key")])) as url:
        configure(world, url, tmp_path)
        start = ("run", "start", world.batch("sum"), "--coder", "codex", "--reason", "users complain")
        error = world.refused(5, "broken", *start)
        assert "key" in error["message"]
    [run] = world.ok("run", "list")
    assert run["state"] == "failed"
    path = world.home / FILE_NAME
    with model_server(Script([Fault("dear", times=1), *MEND])) as better:
        path.write_text(path.read_text().replace(url, better))
        done = world.run("run", "resume", run["id"], "--json")
    resumed = json.loads(done.out)
    assert (done.code, resumed["verdict"]) == (1, "out_of_budget")
    assert resumed["usd_micros"] >= 50_000_000
