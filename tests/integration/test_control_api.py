"""The control API against its own description: schemathesis sends what fits and what does not, as each role, to a served
page over a home with one evolution in it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit" / "evolve"))

from web_served import served
from web_visit import reset
from web_world import PASSPHRASE, World, add_running_run, make_home, make_world

from evidence.ledger import Ledger
from evolve.journal import PRODUCT_LEDGER, PROMOTER_LEDGER
from evolve.web.sessions import Limiter

HOOKS = """
import schemathesis

@schemathesis.hook
def filter_query(context, query):
    # An empty list or object leaves no trace in an address: what the tool takes for a wrong request is a right one.
    return not any(value in ([], {}, None) for value in (query or {}).values())
"""
PEOPLE = {"viewer": "vera", "operator": "olga", "approver": "ada"}
HANG_SECONDS = 1800
CONFIGURATION = """
[parameters]
"path.candidate_id" = "{candidate}"
"path.batch_id" = "{batch}"
"path.run_id" = "{run}"
"path.swap_id" = "swap-1"

# What a schema can't say: whether the digits are those of this image, and how long a body is.
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409"]
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "411", "413", "415", "422"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("api") / "home"), regression=2)
    add_running_run(built)
    yield built
    built.close()


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    """Guesses are not limited here: the tool makes hundreds."""
    with served(world, {"at_the_door": Limiter(10**6, 10**6), "at_the_desk": Limiter(10**6, 10**6)}) as found:
        yield found


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_the_tool_finds_nothing_and_nothing_changes(
    world: World, address: str, tmp_path: Path, role: str
) -> None:
    before = everything_kept(world)
    attack(world, address, tmp_path, role, "--phases", "fuzzing", "--max-examples", "5")
    assert everything_kept(world) == before


def test_the_tool_finds_nothing_as_an_approver(world: World, address: str, tmp_path: Path) -> None:
    reset(world)
    before = everything_kept(world)
    attack(world, address, tmp_path, "approver", "--include-method", "GET", "--max-examples", "2")
    assert everything_kept(world) == before, "looking changed something"
    attack(world, address, tmp_path, "approver", "--include-method", "POST", "--max-examples", "5")


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("role", PEOPLE)
def test_the_tool_finds_nothing_in_a_long_time(
    world: World, address: str, tmp_path: Path, role: str, seed: int
) -> None:
    reset(world)
    attack(world, address, tmp_path, role, "--max-examples", "150", seed=seed)


def attack(world: World, address: str, folder: Path, role: str, *options: str, seed: int = 7) -> None:
    place = folder / "schemathesis.toml"
    place.write_text(
        CONFIGURATION.format(candidate=world.candidate_id, batch=world.batch_id, run=world.run_id)
    )
    (folder / "hooks.py").write_text(HOOKS)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(place), "run"]
    command += [f"{address}/api/v1/openapi.json", "--auth", f"{PEOPLE[role]}:{PASSPHRASE}"]
    command += [
        "--checks",
        "all",
        "--seed",
        str(seed),
        "--generation-database",
        "none",
        "--no-color",
        *options,
    ]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS, cwd=folder, env=env)
    shown = "\n".join(line[:400] for line in (done.stdout + done.stderr).splitlines())
    assert done.returncode == 0, shown[-8000:]
    assert "Tested: " in done.stdout, shown[-4000:]


def everything_kept(world: World) -> tuple[object, ...]:
    """Every row, both ledgers' heads, every file that lies beside them."""
    home = world.settings.home
    with sqlite3.connect(world.settings.sql_url.removeprefix("sqlite:///")) as database:
        rows = tuple(database.iterdump())
    heads = []
    for name in (PRODUCT_LEDGER, PROMOTER_LEDGER):
        with Ledger(home / name, create=False) as ledger:
            heads.append(ledger.head())
    files = {p for p in home.rglob("*") if p.is_file() and not p.name.endswith(("-wal", "-shm"))}
    return rows, heads, files, world.book.decisions, len(world.book.rolled_back)
