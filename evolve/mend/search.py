"""The search: baseline, localisation, single edits, combinations, minimisation, confirmation."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evolve.mend.candidates import Candidate, ranked
from evolve.mend.edit import Edit, apply_edits
from evolve.mend.evaluate import SECOND_SHARE, Edits, Evaluator
from evolve.mend.index import build_index
from evolve.mend.localise import Scores, ochiai, read_spectrum, with_tracebacks
from evolve.mend.outcome import Outcome
from evolve.mend.runner import EnvironmentBroken, Runner
from evolve.mend.source import Module, Unreadable

Status = Literal["mended", "passes already", "not mended", "flaky"]
GRACE_SHARE = 0.1
"""Share of the budget that the grace may take."""
SINGLES_SHARE = 0.75
"""Share of the budget for single edits when combinations are worth trying."""


@dataclass(frozen=True)
class Config:
    """How to search."""

    seed: int = 0
    budget_seconds: float = 300.0
    max_edits: int = 3
    grace: int = 8
    """So many further candidates are tried after the first that passes, for one that looks less risky."""
    run_seconds: float = 120.0
    """Limit of the first run; later ones get a multiple of what it took."""
    suspects: Scores | None = None
    progress: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Result:
    """What was found; `changed` holds the new content of the files that change."""

    status: Status
    edits: Edits = ()
    changed: Mapping[str, bytes] = field(default_factory=dict)
    tried: int = 0
    runs: int = 0
    seconds: float = 0.0


@dataclass
class Hunt:
    """State of one search."""

    evaluator: Evaluator
    config: Config
    passing: list[tuple[float, Edits]] = field(default_factory=list)
    """(weight, edits) of everything that passed."""
    promising: list[tuple[float, Edits]] = field(default_factory=list)
    """(gain, edits) of everything that helped."""
    top: list[Candidate] = field(default_factory=list)
    hung: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Lines, by edits that ran into the time limit."""


def mend(repo: Mapping[str, bytes], runner: Runner, config: Config) -> Result:
    """Search edits of the Python files of `repo` (path -> content) until the runner's command passes.

    Deterministic for a seed as long as no time limit cuts it. Raises EnvironmentBroken when the command can't
    be run. Writes nothing: the caller applies `Result.changed`.
    """
    start = time.monotonic()
    modules = _modules(repo)
    first = runner.run({}, limit=min(config.run_seconds, config.budget_seconds))
    if not first.runnable:
        raise EnvironmentBroken(
            f"the test command can't be run (exit {first.exit_code}): {first.output[-400:].strip()}"
        )
    with tempfile.TemporaryDirectory(prefix="evolve-mend-") as folder:
        trace = Path(folder) / "spectrum.tsv"
        limit = min(config.run_seconds, 20 * first.seconds + 10)
        second = runner.run({}, limit=limit, coverage=trace)
        if first.passed and second.passed:
            return Result("passes already", runs=2, seconds=time.monotonic() - start)
        if first.passed or second.passed:
            return Result("flaky", runs=2, seconds=time.monotonic() - start)
        scores = _scores(config, first, trace)
    index = build_index(modules.values())
    if config.suspects is None:
        scores = with_tracebacks(scores, first, getattr(runner, "root", ""), modules)
    evaluator = Evaluator(
        runner,
        {path: module.data for path, module in modules.items()},
        first.failing,
        limit=3 * first.seconds + 2 if first.exit_code is not None else config.run_seconds,
        deadline=start + config.budget_seconds,
        spare=SECOND_SHARE * config.budget_seconds,
        runs=2,
    )
    hunt = Hunt(evaluator, config)
    _singles(hunt, ranked(index, scores, hunt.hung), start)
    if not hunt.passing and config.max_edits > 1 and hunt.evaluator.left() > 0:
        from evolve.mend.combine import combinations  # deap takes a third of a second to import

        hunt.passing += combinations(evaluator, hunt.promising, hunt.top, config)
    found = best(hunt)
    seconds = time.monotonic() - start
    if found is None:
        return Result("not mended", tried=evaluator.tried, runs=evaluator.runs, seconds=seconds)
    changed = apply_edits(evaluator.sources, found)
    return Result("mended", found, changed, evaluator.tried, evaluator.runs, seconds)


def _modules(repo: Mapping[str, bytes]) -> dict[str, Module]:
    found: dict[str, Module] = {}
    for path in sorted(repo):
        try:
            found[path] = Module(path, repo[path])
        except Unreadable:
            continue
    return found


def _scores(config: Config, baseline: Outcome, trace: Path) -> Scores:
    if config.suspects is not None:
        return dict(config.suspects)
    return ochiai(read_spectrum(trace), baseline.failing)


def _singles(hunt: Hunt, candidates: Iterator[Candidate], start: float) -> None:
    evaluator, config = hunt.evaluator, hunt.config
    weights: dict[Edits, float] = {}

    def edits() -> Iterator[Edits]:
        for candidate in candidates:
            share = (time.monotonic() - start) / config.budget_seconds
            if hunt.promising and config.max_edits > 1 and share > SINGLES_SHARE:
                return
            if len(hunt.top) < 200:
                hunt.top.append(candidate)
            weights[(candidate.edit,)] = candidate.weight
            yield (candidate.edit,)

    left, until = config.grace, 0.0
    for found, outcome in evaluator.stream(edits()):
        gain = evaluator.gain(outcome)
        weight = weights.pop(found)
        if outcome.passed:
            hunt.passing.append((weight, found))
        elif outcome.exit_code is None:
            hunt.hung[found[0].file, found[0].line] += 1
        elif gain > 0:
            hunt.promising.append((gain, found))
        if hunt.passing:
            until = until or time.monotonic() + GRACE_SHARE * config.budget_seconds
            left -= 1
            if left < 0 or time.monotonic() > until:
                return
        _say(hunt, found[0])


def _say(hunt: Hunt, edit: Edit) -> None:
    state = f"{len(hunt.passing)} pass, {len(hunt.promising)} help"
    hunt.config.progress(f"{hunt.evaluator.tried} tried, {state}: {edit.operator} {edit.file}:{edit.line}")


def best(hunt: Hunt) -> Edits | None:
    """The least risky, smallest set that passes again when confirmed; None if none does."""

    def order(item: tuple[float, Edits]) -> tuple[object, ...]:
        weight, edits = item
        worth = weight * (1 - 0.7 * max(e.risk for e in edits))
        return (len(edits), -worth, sum(e.size() for e in edits), [e.key() for e in edits])

    for _, edits in sorted(hunt.passing, key=order):
        small = _minimal(hunt.evaluator, edits)
        if hunt.evaluator.confirm(small):
            return small
    return None


def _minimal(evaluator: Evaluator, edits: Edits) -> Edits:
    """Without the edits that are not needed."""
    kept = list(edits)
    for edit in edits:
        rest = tuple(e for e in kept if e is not edit)
        outcome = evaluator.one(rest) if rest else None
        if outcome is not None and outcome.passed:
            kept = list(rest)
    return tuple(kept)
