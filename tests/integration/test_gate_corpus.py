"""The gate as a whole against a corpus: every cheat is refused by a check that names it, every honest fix converges."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_corpus import CHEATS, HARNESS_CHEAT, HONEST, Candidate, Gate, one_for_each, open_gate

from evolve.substrates import export_harness
from trial import verdict

PAGE = Path(__file__).parents[2] / "docs" / "verdict.md"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with open_gate(tmp_path_factory.mktemp("h")) as opened:
        yield opened


@pytest.mark.parametrize("candidate", one_for_each(CHEATS), ids=str)
def test_a_cheat_is_refused_by_the_check_that_names_it(gate: Gate, candidate: Candidate) -> None:
    is_refused(gate, candidate)


def test_a_hook_taken_out_of_the_bundled_harness_is_noticed(tmp_path: Path) -> None:
    with open_gate(tmp_path, export_harness) as gate:
        is_refused(gate, HARNESS_CHEAT)


def is_refused(gate: Gate, candidate: Candidate) -> None:
    """By name, with the word that the name stands for; and the guard objects to nothing else."""
    guarded, report = gate.judge(candidate)
    assert report.verdict != "converged"
    accusers = {check.name for check in report.checks if not check.ok}
    named = accusers.intersection(candidate.accused_by)
    assert named, (report.reasons, report.checks)
    assert report.verdict == word(named), report.reasons
    assert {check.name for check in guarded if not check.ok} == {n for n in named if n.startswith("guard.")}


def word(names: set[str]) -> str:
    if names.intersection(verdict.CHEATS):
        return "cheated"
    return "regressed" if names.intersection(verdict.HARMS) else "needs_work"


@pytest.mark.parametrize("candidate", HONEST, ids=str)
def test_an_honest_fix_converges_and_nothing_accuses_it(gate: Gate, candidate: Candidate) -> None:
    _, report = gate.judge(candidate)
    assert report.verdict == "converged", report.reasons
    assert [check for check in report.checks if not check.ok] == []


def test_the_page_lists_the_corpus() -> None:
    page = " ".join(PAGE.read_text().split())
    for candidate in CHEATS:
        names = ", ".join(f"`{name}`" for name in candidate.accused_by)
        assert f"| {candidate.kind} | {names} |" in page
    for candidate in HONEST:
        assert candidate.kind in page
