"""Code review, deterministic form: the guard on the commit's tree, then the substrate's own checks in a sandbox."""

import shutil

from containers.runtime import ImageRef, Limits
from containers.shard import Shard
from evolve import guard, worktree
from evolve.context import RunContext
from evolve.stages.models import Implemented, Plan, Review
from trial.report import Check
from trial.verdict import CHEATS

CHECK_SECONDS = 120.0


def run(context: RunContext, planned: Plan, done: Implemented) -> Review:
    """Refuses what changes nothing, was tried before, breaks a guard rule or fails a check of the substrate's own."""
    if done.commit is None:
        why = f"the coder {done.outcome.replace('_', ' ')}: empty diff"
        return Review(ok=False, word="needs_work", reason=f"{why} ({done.reason})" if done.reason else why)
    changes = worktree.changes(
        context.settings.substrate_repository, context.batch.baseline_commit, done.commit
    )
    checks = [
        *guard.judge(changes, context.manifest, context.settings.guard),
        Check(
            name="review.new_diff",
            ok=done.diff_sha256 not in planned.avoid,
            reason="" if done.diff_sha256 not in planned.avoid else "this run tried the same diff before",
        ),
    ]
    if all(check.ok for check in checks):
        checks += _own_checks(context, done.commit)
    bad = [check for check in checks if not check.ok]
    reason = "; ".join(f"{check.name}: {check.reason}" for check in bad)
    word = "cheated" if any(check.name in CHEATS for check in bad) else "needs_work" if bad else ""
    return Review(ok=not bad, word=word, reason=reason, checks=tuple(checks))


def _own_checks(context: RunContext, commit: str) -> list[Check]:
    if not context.manifest.checks:
        return []
    tree = context.folder / "checks" / commit
    if not tree.exists():
        worktree.export_tree(context.settings.substrate_repository, commit, tree)
    answers = []
    # Short: a socket lies in it, and a socket's path may have 107 bytes.
    folder = context.settings.home / "run" / f"c{context.run_id[-7:].lower()}"
    with Shard(
        context.runtime,
        ImageRef(context.batch.baseline_digest),
        context.manifest,
        name=f"checks-{context.run_id.lower()}",
        labels={"run": context.run_id},
        workdir=folder,
        gateway_dir=None,
        limits=Limits(),
        tree=tree,
    ) as shard:
        for argv in context.manifest.checks:
            code, output = shard.run(argv, {}, CHECK_SECONDS)
            reason = "" if code == 0 else f"exit {code}: {output[-300:]}"
            answers.append(Check(name=f"check.{' '.join(argv)[:60]}", ok=code == 0, reason=reason))
    shutil.rmtree(folder, ignore_errors=True)
    return answers
