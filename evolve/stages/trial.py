"""Trial: baseline and candidate replayed side by side on the same cases, measured, and summed up in a report."""

from pydantic import TypeAdapter
from sqlmodel import col, func, select

from evidence.canonical import canonical_json
from evidence.seal import count_verdict
from evolve import guard, signatures, worktree
from evolve.context import RunContext
from evolve.rollback_class import declared_class
from evolve.stages.models import Built, Tried
from evolve.tables import CandidateRow
from trial.compare import compare
from trial.report import Trial


def run(context: RunContext, built: Built) -> Tried:
    """Replay until decided. The report and every trial are stored as blobs."""
    candidate = built.candidate
    repository = context.settings.substrate_repository
    changes = worktree.changes(repository, candidate.base_commit, candidate.commit)
    report, trials = compare(
        context.arena,
        context.batch,
        context.graders,
        candidate_digest=candidate.digest,
        baseline_image=candidate.base_image,
        candidate_image=candidate.image,
        guard=tuple(guard.judge(changes, context.manifest, context.settings.guard)),
        seed=context.seed,
        candidates_in_batch=_candidates(context),
        reads_back=declared_class(*signatures.state_schemas(context.settings, candidate)) != "lossy",
        policy=context.settings.verdict,
        spend=context.spend_trials,
        show=context.books.show,
    )
    count_verdict(context.store, context.batch.id)
    context.store.blobs.put(canonical_json(report))
    blob = context.store.blobs.put(TypeAdapter(list[Trial]).dump_json(trials))
    return Tried(report=report, trials_blob=blob)


def _candidates(context: RunContext) -> int:
    """Over how many candidates the batch's error budget is split: all that this run may try on held-out cases, one a pass,
    or more if there were more before."""
    with context.store.read() as session:
        query = select(func.count()).where(
            col(CandidateRow.batch_id) == context.batch.id, col(CandidateRow.report_blob).is_not(None)
        )
        tried = session.exec(query).one()
    return max(tried + 1, context.settings.run.iterations)
