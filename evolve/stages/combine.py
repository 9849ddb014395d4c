"""Combine: two candidates in one tree, where git can merge them without a conflict."""

from evolve import worktree
from evolve.context import RunContext
from evolve.stages.models import Brief, Implemented


def run(context: RunContext, pair: Brief) -> Implemented:
    """Of two commits on the baseline, one with both changes; `commit` is None where they don't fit together."""
    repository, base = context.settings.substrate_repository, context.batch.baseline_commit
    ours, theirs = pair.commits
    commit = worktree.merge(repository, base, ours, theirs, f"Merge of {ours[:12]} and {theirs[:12]}")
    diff = worktree.diff(repository, base, commit) if commit else b""
    return Implemented(
        commit=commit,
        diff_sha256=worktree.diff_sha256(repository, base, commit) if commit else "",
        diff_blob=context.store.blobs.put(diff),
        coder=pair.coder,
        outcome="edited" if commit else "no_change",
        seconds=0.0,
        trials=0,
        tokens=0,
        usd_micros=0,
        transcript_blob=context.store.blobs.put(b""),
    )
