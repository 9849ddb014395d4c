"""Code review, cheapest first: does it parse, the guard on the commit's tree, the substrate's own checks in a sandbox; then,
where a reviewer is configured, another coder argues against it."""

import ast
import io
import shutil
import tokenize
from collections.abc import Collection

from containers.runtime import ImageRef, Limits
from containers.shard import Shard
from evolve import guard, worktree
from evolve.context import RunContext
from evolve.opinions import ask_opponent
from evolve.stage import Place
from evolve.stages.models import Implemented, Plan, Review
from trial.report import Check
from trial.verdict import CHEATS

CHECK_SECONDS = 120.0


def run(
    context: RunContext, place: Place, done: Implemented, avoid: Collection[str], planned: Plan | None = None
) -> Review:
    """Refuses what changes nothing, was tried before, does not parse, breaks a guard rule or fails a check of the
    substrate's own. `planned`: what it was made from; a merge has none, for both were reviewed before."""
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
            ok=done.diff_sha256 not in avoid,
            reason="" if done.diff_sha256 not in avoid else "this run tried the same diff before",
        ),
    ]
    if all(check.ok for check in checks):
        checks.append(_parses(context, done.commit, [change.path for change in changes]))
    if all(check.ok for check in checks):
        checks += _own_checks(context, done.commit)
    bad = [check for check in checks if not check.ok]
    reason = "; ".join(f"{check.name}: {check.reason}" for check in bad)
    word = "cheated" if any(check.name in CHEATS for check in bad) else "needs_work" if bad else ""
    if bad or planned is None:
        return Review(ok=not bad, word=word, reason=reason, checks=tuple(checks))
    shown = {"change.diff": context.store.blobs.get(done.diff_blob).decode("utf-8", "replace")}
    if planned.answer is not None:
        shown["plan.json"] = planned.answer.model_dump_json(indent=1)
    return ask_opponent(context, "code_review", place, done.commit, shown, planned, "", tuple(checks))


def _parses(context: RunContext, commit: str, changed: Collection[str]) -> Check:
    sources = worktree.read_files(context.settings.substrate_repository, commit, "")
    for name in changed:
        if name.endswith(".py") and name in sources:
            try:
                _require_utf8(sources[name])
                ast.parse(sources[name], name)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                why = f"{name}: {error or type(error).__name__}"
                return Check(name="review.parses", ok=False, reason=why[:300])
    return Check(name="review.parses", ok=True, reason="")


def _require_utf8(source: bytes) -> None:
    """In another encoding people read another text than the interpreter. Raises SyntaxError or ValueError."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    if encoding not in ("utf-8", "utf-8-sig"):
        raise ValueError(f"declares the encoding {encoding}; only UTF-8 is read as it is shown")
    source.decode()


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
