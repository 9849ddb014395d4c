"""A run that ends at the model's limit, over the real command: the service hands everything on, and its model says no."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_model import chat_model, words
from evolve_world import COMMANDS, CONSENT, LISTEN, RULES, SETTINGS, World, ask, running

from evolve.home import create_home
from evolve.settings import FILE_NAME
from evolve.substrates import export_tiny

KILLED = -9
ASKS = "return self.ask(turn, rest), None"
MORE_RULES = """

def yes_is_right(turn):
    got = turn["reply"]["choices"][0]["message"]["content"]
    right = words(turn["request"])[:1] != ["ask"] or got == "yes"
    return None if right else f"expected 'yes', saw {got!r}"
"""
MORE = """
[model]
base_url = "{url}"
usd_micros_per_million_input = 0
usd_micros_per_million_output = 0

[[rules]]
name = "yes"
file = "rules.py"
function = "yes_is_right"

[[graders]]
name = "yes"
kind = "exact"
expected = "yes"
applies = {{ regex = "^ask " }}

[coders.yes]
argv = ["/bin/sh", "-c", "sed -i 's/return str(message.get(.content.))/return \\"yes\\"/' $0/service/turns.py", "{{repo}}"]
"""


def lay_out(tree: Path) -> None:
    """The tiny service, with the whole of what the user said handed to the model."""
    export_tiny(tree)
    source = tree / "service" / "turns.py"
    text = source.read_text()
    assert text.count(ASKS) == 1
    source.write_text(text.replace(ASKS, ASKS.replace("rest", "text")))


@pytest.fixture(scope="module")
def answered_no(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A sealed batch of wrong answers of the model. Copy it, never change it."""
    home = tmp_path_factory.mktemp("limit") / "home"
    create_home(home, lay_out, "separate")
    world = World(home)
    (home / "rules.py").write_text(RULES + MORE_RULES)
    with chat_model(lambda messages: words("no")) as model:
        (home / FILE_NAME).write_text(LISTEN + SETTINGS + CONSENT + COMMANDS + MORE.format(url=model.url))
        with running(world) as service:
            asked = [f"ask is {n} odd" for n in range(1, 25, 2)] + [f"upper word{n}" for n in range(30)]
            assert {status for status, _ in ask(service, asked)} == {200}
            world.ok("scan")
            world.ok("batch", "seal", world.batch("yes"), "--reason", "enough of them")
        yield world


def start(world: World, *words: str, **env: str) -> int:
    asked = ("run", "start", world.batch("yes"), "--seed", "7", "--reason", "users complain")
    return world.run(*asked, *words, **env).code


def last(world: World) -> tuple[dict[str, Any], list[str]]:
    run = world.ok("run")[0]
    return run, [stage["name"] for stage in world.ok("run", "status", run["id"])["stages"]]


def test_the_run_ends_before_a_coder_is_paid_and_says_what_to_do(answered_no: World, tmp_path: Path) -> None:
    """Killed when it had shown as much, too: what was shown is not shown again."""
    world = answered_no.copy(tmp_path / "home")
    assert start(world, EVOLVE_KILL_AT="right_answer:done") == KILLED
    before = last(world)[0]["trials"]
    assert world.run("run", "resume", last(world)[0]["id"]).code == 1
    run, stages = last(world)
    assert (run["verdict"], run["candidate_id"], run["trials"]) == ("limit_model", None, before)
    assert sorted(stages) == ["baseline", "controls", "locate", "right_answer"]
    for part in ("it said 'no', put in place 'yes'", "model call 1 of the turn", "another model is needed"):
        assert part in run["verdict_reason"]
    shown = world.run("run", "show", run["id"], "--stage", "right_answer")
    assert shown.code == 0
    assert '"put": "yes"' in shown.out
    batch = world.ok("batch", "show", world.batch("yes"))
    assert batch["state"] == "sealed"


def test_an_operator_may_go_on_and_a_coder_that_changes_nothing_does_not_move_the_limit(
    answered_no: World, tmp_path: Path
) -> None:
    world = answered_no.copy(tmp_path / "home")
    assert start(world, "--no-stop-at-limit", "--coder", "nothing") == 1
    run, stages = last(world)
    assert run["verdict"] == "limit_model"
    assert "implement" in stages


@pytest.mark.soak
def test_a_candidate_that_passes_one_shows_that_it_is_no_limit(answered_no: World, tmp_path: Path) -> None:
    world = answered_no.copy(tmp_path / "home")
    start(world, "--no-stop-at-limit", "--coder", "yes")
    run, stages = last(world)
    assert "trial" in stages
    assert run["verdict"] not in ("limit_model", None)
