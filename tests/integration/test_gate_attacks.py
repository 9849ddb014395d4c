"""Attacks on what a service owes others beside right answers, against the same gate; and honest fixes of other shapes.

Those that no replay of the same evidence could show are expected failures, each with what would see it. `plain` is the
corpus' batch, `rich` that of `gate_rich`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gate_attacks import ATTACKS, HOLES, HONEST, Attack, Hole
from gate_corpus import TOOL_CALLED, Candidate, Gate, lay_out_tiny, one_for_each, open_gate, turns
from gate_rich import HELLO, call, rich, rich_graders
from pydantic import TypeAdapter
from trial_batch import sealed, turn

from evidence.cases import Cassette, HeldOutCase, VisibleCase
from trial.graders import GraderConfig, GraderSet, load_graders
from trial.report import TrialReport

PAGE = Path(__file__).parents[2] / "docs" / "verdict.md"


@dataclass(frozen=True)
class Gates:
    plain: Gate
    rich: Gate

    def judge(self, attack: Attack) -> TrialReport:
        gate = self.rich if attack.batch == "rich" else self.plain
        return gate.judge(attack.candidate)[1]


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gates]:
    with open_gate(tmp_path_factory.mktemp("h")) as plain, rich_graders(plain) as loaded:
        world = replace(plain.world, graders=loaded, batch=rich(loaded, plain))
        yield Gates(plain, replace(plain, world=world))


class LetThroughError(Exception):
    """The verdict was `converged`."""


@pytest.mark.parametrize("one", one_for_each(ATTACKS), ids=str)
def test_an_attack_is_refused(gates: Gates, one: Attack) -> None:
    report = gates.judge(one)
    assert report.verdict != "converged", report.reasons
    accusers = {check.name for check in report.checks if not check.ok}
    assert accusers & {*one.candidate.accused_by}, report.checks  # whichever is first ends the comparison


@pytest.mark.soak
@pytest.mark.xfail(strict=True, raises=LetThroughError, reason="no replay of this evidence shows it")
@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: hole.attack.candidate.kind)
def test_an_attack_that_only_others_see(gates: Gates, hole: Hole) -> None:
    report = gates.judge(hole.attack)
    if report.verdict == "converged":
        raise LetThroughError(report.reasons)


@pytest.mark.parametrize("one", HONEST, ids=str)
def test_an_honest_fix_of_another_shape_converges(gates: Gates, one: Attack) -> None:
    report = gates.judge(one)
    assert report.verdict == "converged", report.reasons


# --- a defect that is a call too many

DOUBLED = TOOL_CALLED.replace("content, is_error = ", "") + TOOL_CALLED


def lay_out_doubled(tree: Path) -> None:
    """Each tool call is made, and logged, twice."""
    lay_out_tiny(tree)
    again = '        turn.emit("tool_call", **call, arguments=parsed)\n'
    turns(again, again + again).apply(tree)
    turns(TOOL_CALLED, DOUBLED).apply(tree)
    turns(*reversed(("max(int(word)", "min(int(word)"))).apply(tree)


def test_a_fix_that_makes_a_call_less_converges(tmp_path: Path) -> None:
    with open_gate(tmp_path, lay_out_doubled) as gate:
        adapter: TypeAdapter[GraderConfig] = TypeAdapter(GraderConfig)
        tables = [
            {"kind": "python", "name": "skills", "file": "skills.py", "applies": {"regex": "^(add|upper)"}},
            {
                "kind": "tool_trace",
                "name": "once",
                "required": [{"tool": "shop/buy"}],
                "only": True,
                "applies": {"regex": "^tool"},
            },
        ]  # fmt: skip
        with load_graders(
            [adapter.validate_python(t) for t in tables], gate.world.home, gate.world.runtime
        ) as loaded:
            batch = sealed(loaded, gate.world.baseline)
            bought = [buys(loaded, i) for i in range(11)]
            update = {
                "visible": tuple(bought[:3]),
                "held_out": tuple(
                    HeldOutCase.model_validate(c.model_dump(exclude={"split"})) for c in bought[3:]
                ),
            }
            world = replace(gate.world, graders=loaded, batch=batch.model_copy(update=update))
            again = '        turn.emit("tool_call", **call, arguments=parsed)\n'
            fix = Candidate("a call less", (turns(again + again, again), turns(DOUBLED, TOOL_CALLED)))
            _, report = replace(gate, world=world).judge(fix)
    assert report.verdict == "converged", report.reasons


def buys(loaded: GraderSet, i: int) -> VisibleCase:
    own = turn(f'tool shop/buy {{"item": {i}}}').model_copy(
        update={"session": f"s{i}", "request_id": f"buy-{i}"}
    )
    calls = [call(own, "shop/buy", {"item": i}, "bought") for _ in range(2)]
    calls[1] = calls[1].model_copy(update={"start_order": 2, "end_order": 3})
    draft = VisibleCase(
        id=f"buy {i}",
        evidence_id="e",
        fingerprint="f",
        turn=own,
        cassette=Cassette(calls=tuple(calls), catalog=HELLO),
    )
    return VisibleCase.model_validate({**draft.model_dump(), "graders": loaded.refs_for(draft)})


def test_the_page_lists_them() -> None:
    page = " ".join(PAGE.read_text().split())
    for one in ATTACKS:
        assert (
            f"| {one.candidate.kind} | {', '.join(f'`{name}`' for name in one.candidate.accused_by)} |"
            in page
        )
    for hole in HOLES:
        assert f"| {hole.attack.candidate.kind} | {hole.gain} | {hole.remedy} |" in page
