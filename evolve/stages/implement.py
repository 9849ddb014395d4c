"""Implement: a coder edits a single-commit export in a sandbox; what it leaves becomes a commit."""

import json
import shutil
import time

from evolve import worktree
from evolve.coding.check_server import CheckServer
from evolve.coding.protocol import CodingBudget, CodingSandbox, CodingTask
from evolve.context import RunContext
from evolve.stages.models import Implemented, Plan


def run(context: RunContext, iteration: int, planned: Plan) -> Implemented:
    """Always from a fresh export: what a killed attempt left is thrown away."""
    scratch = context.folder / f"implement-{iteration}"
    shutil.rmtree(scratch, ignore_errors=True)
    tree = scratch / "repo"
    repository, base = context.settings.substrate_repository, context.batch.baseline_commit
    worktree.export_for_coder(repository, base, tree)
    started, trials = time.monotonic(), context.budget.trials
    with CheckServer(context, tree, scratch / "check", planned.avoid) as server:
        result = context.coder.run(
            _task(context, planned),
            tree,
            sandbox=CodingSandbox(
                runtime=context.runtime,
                scratch=scratch,
                check_folder=server.folder,
                gateway_folder=None,
                labels={"run": context.run_id},
            ),
            budget=CodingBudget(seconds=min(context.settings.run.coder_seconds, context.budget.seconds_left)),
        )
    server.raise_if_ended()
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
        tokens=result.tokens,
        usd_micros=result.usd_micros,
        transcript_blob=context.store.blobs.put(result.transcript.encode()),
    )


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
        files={"suspects.jsonl": suspects, "cases.json": json.dumps(cases, indent=1)},
        seed=planned.seed,
    )
