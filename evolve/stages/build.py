"""Build: the commit's tree becomes an image; from here on a candidate is a digest."""

from sqlmodel import select

from evidence.canonical import canonical_json, new_id
from evolve import worktree
from evolve.candidate import Candidate
from evolve.context import RunContext
from evolve.images import build_commit
from evolve.stage import Place
from evolve.stages.models import Built, Implemented
from evolve.tables import CandidateRow


def run(context: RunContext, place: Place, parents: tuple[str, ...], done: Implemented) -> Built:
    """Build from git objects, never from the coder's folder, and record the candidate."""
    if done.commit is None:
        raise ValueError("nothing to build: code_review must have refused an empty diff")
    repository, base = context.settings.substrate_repository, context.batch.baseline_commit
    image = build_commit(
        context.runtime,
        repository,
        done.commit,
        context.folder / f"build-{place}",
        run_id=context.run_id,
        batch_digest=context.batch.digest,
    )
    changes = worktree.changes(repository, base, done.commit)
    candidate = Candidate(
        id=_candidate_id(context, place),
        run_id=context.run_id,
        batch_digest=context.batch.digest,
        base_commit=base,
        base_image=context.batch.baseline_digest,
        commit=done.commit,
        image=image.digest,
        diff_sha256=done.diff_sha256,
        files=tuple(change.path for change in changes),
        lines_added=sum(change.added for change in changes),
        lines_removed=sum(change.removed for change in changes),
        coder=done.coder,
        seed=context.seed,
        parents=parents,
    )
    worktree.keep(repository, candidate.id, done.commit)
    with context.store.write() as session:
        session.merge(
            CandidateRow(
                id=candidate.id,
                run_id=context.run_id,
                batch_id=context.batch.id,
                iteration=place.iteration,
                proposal=place.proposal,
                commit=candidate.commit,
                image=candidate.image,
                digest=candidate.digest,
                diff_blob=done.diff_blob,
                candidate_blob=context.store.blobs.put(canonical_json(candidate)),
            )
        )
    return Built(candidate=candidate)


def _candidate_id(context: RunContext, place: Place) -> str:
    """One candidate a proposal: a killed attempt's row is taken over, or each kill would leave one more."""
    with context.store.read() as session:
        known = select(CandidateRow).where(
            CandidateRow.run_id == context.run_id,
            CandidateRow.iteration == place.iteration,
            CandidateRow.proposal == place.proposal,
        )
        row = session.exec(known).first()
    return new_id() if row is None else row.id
