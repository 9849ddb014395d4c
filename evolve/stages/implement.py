"""Implement: a coder edits a single-commit export in a sandbox; what it leaves becomes a commit."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

from containers.runtime import RuntimeBroken
from evolve import runs, worktree
from evolve.budget import OutOfBudget
from evolve.coding.check_server import CheckServer
from evolve.coding.door import METER
from evolve.coding.protocol import CodingBudget, CodingResult, CodingSandbox, CodingTask
from evolve.context import RunContext
from evolve.stages.models import Implemented, Plan
from trial.gateway.meter import read_meter

MAX_LIKELY = 5
NO_FAULT_OF_ITS_OWN = ("not_signed_in", "rate_limited")
"""Outcomes that say nothing about the candidate: the run can be resumed when the cause is gone."""


def run(context: RunContext, iteration: int, planned: Plan) -> Implemented:
    """Always from a fresh export: what a killed attempt left is thrown away."""
    scratch = context.folder / f"implement-{iteration}"
    shutil.rmtree(scratch, ignore_errors=True)
    tree = scratch / "repo"
    repository, base = context.settings.substrate_repository, context.batch.baseline_commit
    worktree.export_for_coder(repository, base, tree)
    started, trials = time.monotonic(), context.budget.trials
    audit = context.folder / f"coder-{iteration}"
    _book(context, audit)
    with CheckServer(context, tree, scratch / "check", planned.avoid) as server:
        sandbox = CodingSandbox(
            runtime=context.runtime,
            scratch=scratch,
            check_folder=server.folder,
            audit=audit,
            tick=lambda: runs.raise_if_stopping(context.store, context.run_id),
            labels={"run": context.run_id},
        )
        results = _call(context, _task(context, planned), tree, sandbox)
    result = results[-1]
    server.raise_if_ended()
    if result.outcome == "out_of_budget":
        raise OutOfBudget(result.reason)
    if result.outcome in NO_FAULT_OF_ITS_OWN:
        raise RuntimeBroken(f"coder {context.coder.name}: {result.reason}")
    commit = worktree.commit_directory(
        repository, tree, base, f"Candidate of run {context.run_id}, pass {iteration}"
    )
    diff = worktree.diff_text(repository, base, commit)
    shutil.rmtree(scratch, ignore_errors=True)
    return Implemented(
        commit=commit if diff else None,
        diff_sha256=worktree.diff_sha256(repository, base, commit),
        diff_blob=context.store.blobs.put(diff.encode()),
        coder=context.coder.name,
        outcome=result.outcome,
        seconds=time.monotonic() - started,
        trials=context.budget.trials - trials,
        tokens=sum(each.tokens for each in results),
        usd_micros=sum(each.usd_micros for each in results),
        reason=result.reason,
        transcript_blob=context.store.blobs.put(result.transcript.encode()),
    )


def _call(context: RunContext, task: CodingTask, tree: Path, sandbox: CodingSandbox) -> list[CodingResult]:
    """One call; after a question, which nobody can answer, one more in the same session where the coder has such."""
    results = [_once(context, task, tree, sandbox)]
    if results[0].outcome == "asked" and context.coder.resumes and results[0].session:
        text = f"{task.text}\n\nYou asked: nobody can answer. Decide by yourself, and make the edit.\n"
        again = replace(task, text=text, resume=results[0].session)
        results.append(_once(context, again, tree, sandbox))
    return results


def _once(context: RunContext, task: CodingTask, tree: Path, sandbox: CodingSandbox) -> CodingResult:
    limits, spent = context.settings.run, context.arena.spent
    budget = CodingBudget(
        seconds=min(limits.coder_seconds, context.budget.seconds_left),
        tokens=limits.max_tokens - spent.tokens,
        usd_micros=round(limits.max_usd * 1e6) - spent.micro_usd,
    )
    try:
        return context.coder.run(task, tree, sandbox=sandbox, budget=budget)
    finally:
        _book(context, sandbox.audit)


def _book(context: RunContext, audit: Path) -> None:
    """Move what the coder's gateway counted to the run's own meter; what a killed attempt left there, too."""
    meter = audit / METER
    spent, _ = read_meter(meter)
    context.arena.book(spent)
    meter.unlink(missing_ok=True)


def _task(context: RunContext, planned: Plan) -> CodingTask:
    # Sharpened: a coder that multiplies suspicion with its own priors must not drown in the common path.
    lines = ({"file": s.file, "line": s.line, "score": s.score**2.5} for s in planned.suspects)
    suspects = "".join(json.dumps(line) + "\n" for line in lines)
    cases = [
        {
            "id": case.id,
            "prelude": [turn.model_dump(mode="json") for turn in case.prelude],
            "turn": case.turn.model_dump(mode="json"),
            "signals": [signal.model_dump(mode="json") for signal in case.signals],
        }
        for case in context.batch.visible
    ]
    return CodingTask(
        text=planned.task,
        likely=tuple(dict.fromkeys(suspect.file for suspect in planned.suspects))[:MAX_LIKELY],
        files={"suspects.jsonl": suspects, "cases.json": json.dumps(cases, indent=1)},
        seed=planned.seed,
    )
