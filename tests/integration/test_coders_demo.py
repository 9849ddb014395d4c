"""Real coding CLIs on the demo's substrate, from evidence to an offered candidate. A scripted model first makes a repair
that mends all it was shown and nothing else. This shows that the parts work together, not how well a model repairs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from coder_bench import KINDS, require
from coder_desk import CANARY, INPUT_PRICE, OUTPUT_PRICE, Desk, OperatorsHome, configure, open_desk
from leftovers import lasting_processes
from model_server import KEY, Script, model_server

FIRST_TASK, AFTER_A_REFUSAL = "Find the defect and mend it", "on held-out cases: needs_work"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("desk") / "home") as desk:
        yield desk


@pytest.fixture
def operator(tmp_path: Path) -> OperatorsHome:
    home = OperatorsHome(tmp_path / "operator")
    assert home.touched() == []
    (home.folder / ".netrc").read_text()
    assert home.touched() == [".netrc"]  # it would be seen here
    return OperatorsHome(tmp_path / "operator")


SLOW = pytest.mark.soak
KINDS_HERE = [pytest.param(kind, marks=SLOW) if kind == "mini_swe_agent" else kind for kind in KINDS]
"""It takes longer than the two others together, which show the same."""


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_a_wrong_repair_is_refused_and_the_right_one_is_offered(
    desk: Desk, operator: OperatorsHome, tmp_path: Path, kind: str
) -> None:
    require(kind)
    world = desk.world.copy(tmp_path / "home")
    rules = [(AFTER_A_REFUSAL, desk.right), (FIRST_TASK, desk.wrong)]
    script = Script(desk.wrong[:1], rules=rules)
    with model_server(script) as url:
        configure(world, kind, url, tmp_path)
        run = world.ok(
            *("run", "start", desk.batch, "--coder", kind, "--candidates", "1", "--seed", "1"),
            *("--reason", "orders above the limit reach the shop"),
            **operator.env,
        )
    assert run["verdict"] == "converged", run
    wrong, right = sorted(world.ok("candidate"), key=lambda candidate: candidate["iteration"])
    assert (wrong["state"], wrong["verdict"]) == ("tried", "needs_work")
    assert (right["state"], right["verdict"]) == ("ready", "converged")
    assert run["candidate_id"] == right["id"]
    assert world.ok("batch", "show", desk.batch)["state"] == "ready"

    record = world.ok("run", "show", run["id"])["stages"]
    told = {(one["stage"]["name"], one["stage"]["iteration"]): one["output"] for one in record}
    assert set(told["screen", 1]["scores"].values()) == {1.0}  # plausible: all that it saw
    assert any("no gain on held-out cases: 0 won" in reason for reason in told["evaluate", 1]["reasons"])

    made = [told["implement", number] for number in (1, 2)]
    assert sum(one["tokens"] for one in made) == sum(map(sum, script.served)) > 0
    cost = sum(INPUT_PRICE * given + OUTPUT_PRICE * said for given, said in script.served)
    assert sum(one["usd_micros"] for one in made) == cost > 0
    assert run["usd_micros"] == cost

    assert set(script.keys) == {KEY}
    assert CANARY not in json.dumps([script.requests, record])
    assert operator.touched() == []
    assert lasting_processes(world.home) == []
    print(
        f"{kind}: {len(script.served)} model calls, {sum(map(sum, script.served))} tokens, {cost} micro-USD"
    )
