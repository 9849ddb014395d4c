"""A planner and an opponent, both real coding CLIs: what they say goes round, what they fail to say lets nothing through."""

import json
from pathlib import Path
from typing import Any

import pytest
from coder_bench import require
from evolve_world import World
from model_server import Script, model_server
from test_evolve_coders import FILE, configure

from evolve.coding.steps import Edit, Run, Say, Step
from evolve.settings import FILE_NAME

LOOK = Run("cat /work/task/TASK.md")
PLAN = {
    "cause": "add() looks at three words only",
    "files": [FILE],
    "change": "look at all of them",
    "expected": "the sum of all numbers",
    "risks": "none that would not be seen at once",
}
APPROVAL = {
    "against": ["a longer request takes longer"],
    "mutation": {"file": FILE, "change": "text.split()[:4]", "slips": "no visible case has five numbers"},
    "approve": True,
    "required": [],
}
OBJECTION = "this treats the symptom"
REFUSAL = {**APPROVAL, "approve": False, "required": [OBJECTION]}


def answer(value: object) -> tuple[Step, ...]:
    text = value if isinstance(value, str) else json.dumps(value)
    return LOOK, Run(f"printf '%s' '{text}' > answer.json"), Say("It is written.")


AS_PLANNER, AS_PLAN_OPPONENT, AS_OPPONENT, AS_CODER = (
    "a plan, not a change",
    "a review of a plan",
    "a review of a change",
    "Find the defect and mend it",
)
MEND = (LOOK, Edit(FILE, "text.split()[:3]", "text.split()"), Say("Mended."))


@pytest.fixture
def world(sealed_world: World, tmp_path: Path) -> World:
    require("codex")
    return sealed_world.copy(tmp_path / "home")


def play(world: World, folder: Path, *rules: tuple[str, tuple[Step, ...]], rounds: int = 1) -> dict[str, Any]:
    """The run of a team of three, all of them the same CLI; the rule that stands first in a request plays."""
    with model_server(Script([LOOK], rules=rules)) as url:
        configure(world, url, folder)
        path = world.home / FILE_NAME
        limits = f"plan_rounds = {rounds}\ncode_rounds = {rounds}\n"
        path.write_text(path.read_text().replace('depth = "light"\n', f'depth = "light"\n{limits}'))
        team = ("--coder", "codex", "--planner", "codex", "--reviewer", "codex")
        world.run("run", "start", world.batch("sum"), *team, "--reason", "users complain")
    return dict(world.ok("run", "list")[0])


def stages(world: World, run: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [s for s in world.ok("run", "status", run["id"])["stages"] if s["name"] == name]


def test_a_refused_plan_comes_back_with_the_objection_and_what_stands_is_built(
    world: World, tmp_path: Path
) -> None:
    run = play(
        world,
        tmp_path,
        (AS_PLANNER, answer(PLAN)),
        (AS_CODER, MEND),
        (AS_OPPONENT, answer(APPROVAL)),
        (OBJECTION, answer(APPROVAL)),
        (AS_PLAN_OPPONENT, answer(REFUSAL)),
        rounds=2,
    )
    assert run["verdict"] == "converged", run
    assert [s["round"] for s in stages(world, run, "plan")] == [0, 1]
    [implemented] = stages(world, run, "implement")
    assert implemented["tokens"] > 0
    record = world.ok("run", "show", run["id"])
    told = {(one["stage"]["name"], one["stage"]["round"]): one["output"] for one in record["stages"]}
    assert told["plan_review", 0]["opinion"]["required"] == [OBJECTION]
    assert OBJECTION in told["plan", 1]["task"]
    assert "+" + " " * 4 + "return str(sum(" in told["implement", 0]["diff"]
    assert AS_OPPONENT in told["code_review", 0]["asked"]["prompt"]
    shown = world.run("run", "show", run["id"], "--stage", "plan_review").out
    assert "pass 1, proposal 1, round 2: plan_review" in shown
    costs = record["costs"]
    for part in (costs["stages"], [*costs["proposals"], {"cost": costs["shared"]}]):
        for name in ("usd_micros", "tokens", "trials", "seconds"):
            assert sum(one["cost"][name] for one in part) == pytest.approx(run[name])
    assert costs["proposals"][0]["cost"]["tokens"] == run["tokens"] > 0
    [proposal] = record["population"]["proposals"]
    assert (proposal["state"], proposal["cost"]) == ("ready", costs["proposals"][0]["cost"])


def test_a_planner_that_writes_nonsense_has_not_planned(world: World, tmp_path: Path) -> None:
    run = play(world, tmp_path, (AS_PLANNER, answer("as I said")), (AS_CODER, MEND))
    assert run["verdict"] == "needs_work"
    assert "no plan: codex: answer.json is no JSON" in run["verdict_reason"]
    assert stages(world, run, "implement") == []


def test_an_opponent_that_says_nothing_has_not_approved(world: World, tmp_path: Path) -> None:
    run = play(
        world,
        tmp_path,
        (AS_PLANNER, answer(PLAN)),
        (AS_CODER, MEND),
        (AS_OPPONENT, (LOOK, Say("Looks good to me."))),
        (AS_PLAN_OPPONENT, answer(APPROVAL)),
    )
    assert run["verdict"] == "needs_work"
    assert "no review: codex: it wrote no answer.json" in run["verdict_reason"]
    assert world.ok("candidate") == []
