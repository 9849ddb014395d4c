"""One call of a coder for a run: in a fresh export with `evolve-check` beside it, or in an empty repository without; its
spending booked on the run.

Whatever a killed attempt left in its folder is thrown away; what it spent is not forgotten.
"""

import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from containers.runtime import RuntimeBroken
from evolve import runs, worktree
from evolve.budget import OutOfBudget
from evolve.coding.check_server import CheckServer
from evolve.coding.door import METER
from evolve.coding.protocol import CodingBudget, CodingCli, CodingResult, CodingSandbox, CodingTask
from evolve.context import RunContext
from evolve.stage import Place
from trial.gateway.meter import Cost, read_meter

NO_FAULT_OF_ITS_OWN = ("not_signed_in", "rate_limited")
"""Outcomes that say nothing about the candidate: the run can be resumed when the cause is gone."""


class CoderUnreachable(RuntimeBroken):
    """The coder's model could not be asked at all."""


@dataclass(frozen=True)
class Called:
    """What came of it. `tree` is the export as the coder left it; gone when the context ends."""

    tree: Path
    result: CodingResult
    tokens: int
    usd_micros: int
    seconds: float
    trials: int


@contextmanager
def coder_call(
    context: RunContext,
    role: str,
    place: Place,
    name: str,
    commit: str | None,
    task: CodingTask,
    avoid: Collection[str] = (),
) -> Iterator[Called]:
    """Let coder `name` work on an export of `commit` in the role of `role` (a stage's name). None: on nothing, with nothing
    to replay.

    Raises OutOfBudget when a cap was reached, Stopped, RuntimeBroken when the sandbox failed, and CoderUnreachable.
    """
    scratch, audit = context.folder / f"{role}-{place}", context.folder / f"{role}-audit-{place}"
    shutil.rmtree(scratch, ignore_errors=True)
    tree = scratch / "repo"
    worktree.export_for_coder(context.settings.substrate_repository, commit, tree)
    started, trials = time.monotonic(), context.budget.trials
    _book(context, audit)
    try:
        check = scratch / "check"
        check.mkdir()
        sandbox = CodingSandbox(
            runtime=context.runtime,
            scratch=scratch,
            check_folder=check,
            audit=audit,
            tick=lambda: _tick(context, audit),
            labels={"run": context.run_id},
        )
        with CheckServer(context, tree, check, tuple(avoid)) if commit else nullcontext() as server:
            results = _ask(context, context.coder(name), task, tree, sandbox)
        if server is not None:
            server.raise_if_ended()
        result = results[-1]
        if result.outcome == "out_of_budget":
            raise OutOfBudget(result.reason)
        if result.outcome in NO_FAULT_OF_ITS_OWN:
            raise CoderUnreachable(f"coder {name}: {result.reason}")
        yield Called(
            tree=tree,
            result=result,
            tokens=sum(each.tokens for each in results),
            usd_micros=sum(each.usd_micros for each in results),
            seconds=time.monotonic() - started,
            trials=context.budget.trials - trials,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _ask(
    context: RunContext, coder: CodingCli, task: CodingTask, tree: Path, sandbox: CodingSandbox
) -> list[CodingResult]:
    """One call; after a question, which nobody can answer, one more in the same session where the coder has such."""
    results = [_once(context, coder, task, tree, sandbox)]
    if results[0].outcome == "asked" and coder.resumes and results[0].session:
        text = f"{task.text}\n\nYou asked: nobody can answer. Decide by yourself.\n"
        again = replace(task, text=text, resume=results[0].session)
        results.append(_once(context, coder, again, tree, sandbox))
    return results


def _once(
    context: RunContext, coder: CodingCli, task: CodingTask, tree: Path, sandbox: CodingSandbox
) -> CodingResult:
    limits, spent = context.settings.run, context.arena.spent
    left = Cost(limits.max_micro_usd - spent.micro_usd, limits.max_tokens - spent.tokens)
    lent = _share(context, left)
    seconds = min(limits.coder_seconds, context.budget.seconds_left)
    budget = CodingBudget(seconds, tokens=lent.tokens, usd_micros=lent.micro_usd)
    try:
        with context.arena.lending(lent):
            return coder.run(task, tree, sandbox=sandbox, budget=budget)
    finally:
        _book(context, sandbox.audit)


def _tick(context: RunContext, audit: Path) -> None:
    """While the coder works: show what it has cost so far, and notice a wish to stop."""
    context.books.coder, _ = read_meter(audit / METER)
    context.books.look()
    runs.raise_if_stopping(context.store, context.run_id)


def _share(context: RunContext, left: Cost) -> Cost:
    """What a coder may spend of what is left: half, where the replays that it asks for may ask the service's model."""
    return Cost(left.micro_usd // 2, left.tokens // 2) if context.settings.model.base_url else left


def _book(context: RunContext, audit: Path) -> None:
    """Move what the coder's gateway counted to the run's own meter; what a killed attempt left there, too."""
    meter = audit / METER
    spent, _ = read_meter(meter)
    context.arena.book(spent)
    context.books.coder = Cost()
    meter.unlink(missing_ok=True)
