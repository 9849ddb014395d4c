"""Coders that are not there, not themselves, or whose model misbehaves, through a whole run: nothing is offered, and one
line says why."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from evolve_world import World
from model_server import Script, model_server
from pipeline_world import Proposal, configure, play

from evolve.coding.steps import Fault, Step
from evolve.settings import FILE_NAME

OTHER = "#!/bin/sh\necho codex-cli 99.0.0\n"
PRICE = {"usd_micros_per_million_input": 1, "usd_micros_per_million_output": 1}
CLI = {"kind": "codex", "model": "m", "base_url": "http://127.0.0.1:9", **PRICE}
ASK = """\
$PY - <<'END'
import json, os, time, urllib.request
body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "bash", "parameters": {}}}]}
for attempt in range(3):
    try:
        url = os.environ["MODEL_BASE_URL"] + "/v1/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        print(urllib.request.urlopen(request, timeout=2).read()[:200])
    except OSError as error:
        print(error)
    time.sleep(0.5)
END
"""


@dataclass(frozen=True)
class Setup:
    """A coder's table, and what its model does; how a run with it ends, and which words say why."""

    name: str
    why: str
    code: int = 1
    table: dict[str, object] = field(default_factory=dict)
    model: Step | None = None
    program: str = ""

    def __str__(self) -> str:
        return self.name


SETUPS = (
    Setup("a CLI that is missing", "not found", 2, {**CLI, "program": "/nowhere/codex"}),
    Setup(
        "a CLI that nobody signed in",
        "NO_SUCH_KEY is not set",
        2,
        {**CLI, "api_key_env": "NO_SUCH_KEY"},
        program=OTHER,
    ),
    Setup("a CLI of another version", "empty diff", table=CLI, program=OTHER),
    Setup("a CLI that is no program", "empty diff", table=CLI, program="\x7fELF nothing of the kind"),
    Setup("a model that limits its rate", "limits the rate", 5, model=Fault("rate_limit")),
    Setup("a model that knows no such key", "key", 5, model=Fault("bad_key")),
    Setup("a model that hangs", "empty diff", model=Fault("hang")),
    Setup("a model that streams garbage", "empty diff", model=Fault("garbage")),
    Setup("a model that stops within a tool call", "empty diff", model=Fault("cut")),
    Setup("a model that refuses", "empty diff", model=Fault("refusal")),
)
FEW = ("a CLI that is missing", "a model that stops within a tool call")


@pytest.fixture
def world(largest_world: World, tmp_path: Path) -> World:
    return largest_world.copy(tmp_path / "home")


@pytest.mark.parametrize("setup", [one for one in SETUPS if one.name in FEW], ids=str)
def test_nothing_is_offered_and_one_line_says_why(world: World, tmp_path: Path, setup: Setup) -> None:
    ends_without_an_offer(world, tmp_path, setup)


@pytest.mark.soak
@pytest.mark.parametrize("setup", [one for one in SETUPS if one.name not in FEW], ids=str)
def test_no_other_coder_is_offered_either(world: World, tmp_path: Path, setup: Setup) -> None:
    ends_without_an_offer(world, tmp_path, setup)


def ends_without_an_offer(world: World, folder: Path, setup: Setup) -> None:
    with model_server(Script([setup.model] if setup.model else [])) as url:
        name = added(world, folder, setup, url)
        if setup.code == 1:
            ended = play(world, [name])
            assert (ended.code, ended.offered, ended.candidates) == (1, False, [])
            assert setup.why in ended.why(1)
            return
        start = ("run", "start", world.batch("largest"), "--coder", name, "--reason", "users complain")
        error = world.refused(setup.code, "bad_input" if setup.code == 2 else "broken", *start)
    assert setup.why in error["message"]
    assert {one["state"] for one in world.ok("batch")} == {"sealed"}
    assert world.ok("candidate") == []


def added(world: World, folder: Path, setup: Setup, url: str) -> str:
    if setup.model:
        more = {"base_url": url, "patience_seconds": 3, **PRICE}
        return configure(world, [Proposal(setup.name, (), script=ASK)], more)[0]
    table = dict(setup.table)
    if setup.program:
        (folder / "bin").mkdir()
        (folder / "bin" / "codex").write_text(setup.program)
        (folder / "bin" / "codex").chmod(0o755)
        table["program"] = str(folder / "bin" / "codex")
    path = world.home / FILE_NAME
    path.write_text(
        f"{path.read_text()}\n[coders.cli]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items())
    )
    return "cli"
