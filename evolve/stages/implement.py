"""Implement: a coder edits a single-commit export in a sandbox; what it leaves becomes a commit."""

from evolve import worktree
from evolve.coder_call import coder_call
from evolve.coding.protocol import CodingTask
from evolve.context import RunContext
from evolve.errors import BadInput
from evolve.stage import Place
from evolve.stages.material import material
from evolve.stages.models import Brief, Implemented, Plan

MAX_LIKELY = 5


def run(context: RunContext, place: Place, brief: Brief, planned: Plan) -> Implemented:
    """The export is of the parent where there is one, but the commit stands on the baseline, and is judged whole."""
    repository, base = context.settings.substrate_repository, context.batch.baseline_commit
    start = brief.start(base)
    task = CodingTask(
        text=planned.task,
        likely=tuple(dict.fromkeys(suspect.file for suspect in planned.suspects))[:MAX_LIKELY],
        files=material(context, start, planned.suspects),
        seed=planned.seed,
    )
    with coder_call(context, "implement", place, brief.coder, start, task, planned.avoid) as called:
        outcome, reason = called.result.outcome, called.result.reason
        try:
            title = f"Candidate of run {context.run_id}, {place.words}"
            commit = worktree.commit_directory(repository, called.tree, base, title)
        except BadInput as error:
            commit, outcome, reason = base, "failed", error.message
    diff = worktree.diff(repository, base, commit)
    return Implemented(
        commit=commit if diff else None,
        diff_sha256=worktree.diff_sha256(repository, base, commit),
        diff_blob=context.store.blobs.put(diff),
        coder=brief.coder,
        outcome=outcome,
        seconds=called.seconds,
        trials=called.trials,
        tokens=called.tokens,
        usd_micros=called.usd_micros,
        reason=reason,
        transcript_blob=context.store.blobs.put(called.result.transcript.encode()),
        prompt_blob=context.store.blobs.put(planned.task.encode()),
    )
