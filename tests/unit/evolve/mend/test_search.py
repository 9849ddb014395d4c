"""The search on a runner that executes the candidate in this process: small, fast and the same every time."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evolve.mend.edit import apply_edits
from evolve.mend.evaluate import Evaluator
from evolve.mend.index import build_index
from evolve.mend.operators import edits_of
from evolve.mend.outcome import Outcome
from evolve.mend.runner import EnvironmentBroken
from evolve.mend.search import Config, Hunt, Result, best, mend
from evolve.mend.source import Module

Checks = Mapping[str, Callable[[dict[str, Any]], bool]]


class InProcess:
    """Runs named checks on the module `m.py`; the second answer of a test in `flaky` differs from the first."""

    jobs = 1

    def __init__(self, source: str, checks: Checks, codes: Sequence[int] = ()) -> None:
        self.source, self.checks, self.codes = source, checks, list(codes)
        self.lock = threading.Lock()

    def run(
        self,
        files: Mapping[str, bytes],
        *,
        first: Sequence[str] = (),
        limit: float = 600.0,
        coverage: Path | None = None,
    ) -> Outcome:
        if self.codes:
            return Outcome(self.codes.pop(0), 0.0)
        if self.seconds(files) > limit:
            return Outcome(None, limit)
        with self.lock:
            tests = {name: self._one(files.get("m.py", self.source.encode()), name) for name in self.checks}
        return Outcome(0 if all(tests.values()) else 1, self.seconds(files), tests)

    def seconds(self, files: Mapping[str, bytes]) -> float:
        """How long the command takes."""
        return 0.01

    def abort(self) -> None:
        """Nothing goes on after `run` has returned."""

    def _one(self, source: bytes, name: str) -> bool:
        names: dict[str, Any] = {}
        try:
            exec(source, names)
            return bool(self.checks[name](names))
        except (ArithmeticError, LookupError, TypeError, ValueError, NameError, AttributeError, SyntaxError):
            return False


TWO_FAULTS = """
def low(a, b):  # the smaller one
    return a if a > b else b


def last(items):
    return items[0]
"""
TWO_CHECKS: Checks = {
    "low": lambda m: m["low"](1, 2) == 1 and m["low"](5, 3) == 3,
    "last": lambda m: m["last"]([1, 2, 3]) == 3,
    "last of one": lambda m: m["last"]([1]) == 1,
}


def _mend(source: str, checks: Checks, **config: Any) -> Result:
    return mend({"m.py": source.encode()}, InProcess(source, checks), Config(budget_seconds=60, **config))


def test_one_fault_takes_one_edit_and_comments_stay() -> None:
    source = TWO_FAULTS.replace("[0]", "[-1]")
    result = _mend(source, TWO_CHECKS)
    assert result.status == "mended"
    assert len(result.edits) == 1
    assert "# the smaller one" in result.changed["m.py"].decode()
    assert InProcess(result.changed["m.py"].decode(), TWO_CHECKS).run({}).passed


class EndsEarly(InProcess):
    """Stops at the first failure: a run that passes takes the longest."""

    def seconds(self, files: Mapping[str, bytes]) -> float:
        source = files.get("m.py", self.source.encode())
        return 4.0 if all(self._one(source, name) for name in self.checks) else 0.01


def test_a_limit_from_runs_that_end_early_does_not_hide_the_one_that_passes() -> None:
    source = TWO_FAULTS.replace("items[0]", "items[-1]")
    found = mend({"m.py": source.encode()}, EndsEarly(source, TWO_CHECKS), Config(budget_seconds=60))
    assert (found.status, len(found.edits)) == ("mended", 1)


def test_two_faults_are_mended_by_a_combination_and_nothing_needless_is_in_it() -> None:
    result = _mend(TWO_FAULTS, TWO_CHECKS, suspects={("m.py", 3): 1.0, ("m.py", 7): 1.0}, max_edits=2)
    assert result.status == "mended"
    assert len(result.edits) == 2
    for edit in result.edits:
        alone = apply_edits({"m.py": TWO_FAULTS.encode()}, [e for e in result.edits if e is not edit])
        assert not InProcess(alone["m.py"].decode(), TWO_CHECKS).run({}).passed


def test_more_edits_than_allowed_are_never_made() -> None:
    source = TWO_FAULTS
    result = mend(
        {"m.py": source.encode()}, InProcess(source, TWO_CHECKS), Config(budget_seconds=0.7, max_edits=1)
    )
    assert result.status == "not mended"
    assert result.changed == {}


def test_the_same_seed_gives_the_same_result() -> None:
    config = {"suspects": {("m.py", 3): 1.0, ("m.py", 7): 1.0}, "max_edits": 3, "seed": 5}
    one, two = (_mend(TWO_FAULTS, TWO_CHECKS, **config) for _ in range(2))
    assert (one.edits, one.changed, one.tried) == (two.edits, two.changed, two.tried)


@pytest.mark.parametrize(
    ("codes", "status"), [((0, 0), "passes already"), ((0, 1), "flaky"), ((1, 0), "flaky")]
)
def test_a_command_that_does_not_fail_twice_is_not_searched_for(codes: Sequence[int], status: str) -> None:
    result = mend({"m.py": b"a = 1\n"}, InProcess("a = 1\n", {}, codes), Config(budget_seconds=5))
    assert result.status == status
    assert result.runs == 2


def test_a_pass_that_is_not_confirmed_is_not_believed() -> None:
    passing_once = InProcess("def f():\n    return 1\n", {"never": lambda m: False}, codes=(1, 1, 0))
    result = mend(
        {"m.py": passing_once.source.encode()}, passing_once, Config(budget_seconds=0.7, max_edits=1)
    )
    assert result.status == "not mended"


def test_a_command_that_cannot_run_is_no_verdict_on_the_program() -> None:
    with pytest.raises(EnvironmentBroken):
        mend({"m.py": b"a = 1\n"}, InProcess("", {}, codes=(127,)), Config(budget_seconds=5))


def test_a_less_risky_edit_wins_over_a_likelier_deletion_of_a_guard() -> None:
    source = "def f(a, n):\n    if n > 3:\n        return []\n    return a\n"
    module = Module("m.py", source.encode())
    guard = module.statements[1]
    edits = edits_of(module, guard, build_index([module]))
    deleted = next(e for e in edits if e.operator == "statement.delete")
    moved = next(e for e in edits if e.operator == "constant.number")
    runner = InProcess(source, {"any": lambda m: True})
    evaluator = Evaluator(runner, {"m.py": module.data}, frozenset({"any"}), 9.0, time.monotonic() + 60)
    found = best(Hunt(evaluator, Config(), passing=[(0.5, (deleted,)), (0.4, (moved,))]))
    assert found == (moved,)
