"""The installed command, as an operator types it, on a fresh folder."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

EVOLVE = Path(sys.executable).with_name("evolve")
Evolve = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def evolve(tmp_path: Path) -> Evolve:
    env = {**os.environ, "EVOLVE_HOME": str(tmp_path / "home"), "EVOLVE_EDGE__PORT": "0"}

    def call(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(EVOLVE), *arguments],
            env=env,
            input=given,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return call


def test_from_nothing_to_a_first_failure(evolve: Evolve, tmp_path: Path) -> None:
    assert evolve("batch").returncode == 3
    made = evolve("init", "--tiny", "--json")
    assert (made.returncode, json.loads(made.stdout)["home"]) == (0, str(tmp_path / "home"))
    added = evolve("people", "add", "ana", "--role", "approver", "--passphrase-stdin", given="long enough\n")
    assert (added.returncode, added.stdout) == (0, "")
    assert json.loads(evolve("people", "--json").stdout)[0]["roles"] == ["approver"]
    started = evolve("agent", "start", "--json")
    try:
        assert started.returncode == 0, started.stderr
        with httpx2.Client(base_url=json.loads(started.stdout)["url"], timeout=60) as http:
            body = {"messages": [{"role": "user", "content": "add one two"}]}
            assert http.post("/v1/chat/completions", json=body).status_code == 500
        assert evolve("agent").returncode == 0
        assert json.loads(evolve("scan", "--json").stdout)["evidence"] == 1
        [failure] = json.loads(evolve("evidence", "--json").stdout)
        assert "ValueError" in evolve("evidence", "show", failure["id"]).stdout
        flagged = evolve("evidence", "flag", failure["request_id"], "--reason", "wrong", "--json")
        assert flagged.returncode == 0, flagged.stderr
        [batch] = json.loads(evolve("batch", "--json").stdout)
        refused = evolve("batch", "seal", batch["id"], "--reason", "soon", "--json")
        assert (refused.returncode, json.loads(refused.stdout)["error"]["kind"]) == (1, "refused")
        assert evolve("batch", "dismiss", batch["id"], "--reason", "their mistake").returncode == 0
    finally:
        stopped = evolve("agent", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert evolve("agent", "status").returncode == 1
    assert json.loads(evolve("audit", "verify", "--json").stdout)["valid"]
