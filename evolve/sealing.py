"""Sealing a batch: replay its failures on the live image, find the prelude that each needs, then freeze and split.

Evidence may not import trial, so the two meet here.
"""

from collections.abc import Callable, Sequence

from evidence import draft as drafts
from evidence import seal as seals
from evidence.cases import CaseContent, RecordedTurn, SealedBatch, VisibleCase
from evidence.records import CaseRecord
from evidence.seal import Baseline, NotReady
from evidence.split import SealPolicy
from evolve import worktree
from evolve.errors import NeedsConsent, Refused
from evolve.product import Product
from trial.arena import Arena
from trial.graders import GraderSet
from trial.minimise import minimise
from trial.plan import Job

SEED = 1


def policy_of(product: Product) -> SealPolicy:
    section = product.settings.batch
    return SealPolicy(
        min_visible=section.min_visible,
        min_held_out=section.min_held_out,
        min_regression=section.min_regression,
        max_visible=section.max_visible,
        max_held_out=section.max_held_out,
        max_regression=section.max_regression,
    )


def seal_batch(
    product: Product,
    arena: Arena,
    batch_id: str,
    *,
    who: str,
    reason: str,
    early: bool,
    progress: Callable[[str], None],
) -> SealedBatch:
    """Confirm on the live image and freeze. `early`: a person accepts less than the minimum, which the report then says.

    Raises NeedsConsent when no image is live, Refused when there is too little to judge.
    """
    image = product.live_image()
    if image is None:
        raise NeedsConsent("no image is live yet", hint="`evolve agent start`")
    policy = policy_of(product)
    known = drafts.draft(product.store, batch_id, policy)
    confirmed = _confirm_failures(product, arena, known.failures, image, policy, progress)
    progress(f"{confirmed} failures happen again on the live image")
    fresh = [record.id for record in known.regression if record.state == "candidate"]
    drafts.skip_check(
        product.store, batch_id, fresh, who="evolve", reason="the trial replays them on the baseline anyway"
    )
    try:
        return seals.seal(
            product.store,
            batch_id,
            Baseline(product.manifest.name, image, worktree.head(product.settings.substrate_repository)),
            graders_digest=product.graders.digest,
            by=who,
            seed=SEED,
            reason=reason,
            by_itself=not early,
            policy=policy,
            graders_for=lambda case: product.graders.refs_for(case),
        )
    except NotReady as error:
        raise Refused(str(error), hint="`evolve batch seal --early` seals what is there") from None


def _confirm_failures(
    product: Product,
    arena: Arena,
    records: tuple[CaseRecord, ...],
    image: str,
    policy: SealPolicy,
    progress: Callable[[str], None],
) -> int:
    """Replay until enough cases are confirmed; what does not happen again is refused with that reason."""
    wanted = policy.max_visible + policy.max_held_out
    alone = _failing_alone(product, arena, records[:wanted], image)
    confirmed = 0
    for number, record in enumerate(records, 1):
        if confirmed >= wanted:
            break
        found = () if record.id in alone else _prelude(product, arena, record, image)
        drafts.confirm_case(
            product.store,
            record.id,
            found or (),
            found is not None,
            reason="" if found is not None else "does not fail again on the live image",
        )
        confirmed += found is not None
        progress(f"replayed {number} of {len(records)} failures, {confirmed} confirmed")
    return confirmed


def _failing_alone(product: Product, arena: Arena, records: Sequence[CaseRecord], image: str) -> set[str]:
    """The cases that fail with no prelude at all, found several at a time: most failures are of this kind."""
    contents = [drafts.case_content(product.store, r.id, (), product.graders.refs_for) for r in records]
    jobs = [_job(content, image) for content in contents if content.graders]
    return {trial.case_id for trial in arena.run(jobs, product.graders.grade) if trial.outcome == "fail"}


def _prelude(
    product: Product, arena: Arena, record: CaseRecord, image: str
) -> tuple[RecordedTurn, ...] | None:
    """The shortest prelude found after which the case fails; None when it never does."""
    earlier = drafts.prelude_candidates(product.store, record.id)

    def fails_after(prelude: tuple[RecordedTurn, ...]) -> bool:
        content = drafts.case_content(product.store, record.id, prelude, product.graders.refs_for)
        return _fails(arena, product.graders, content, image)

    session = drafts.case_content(product.store, record.id).turn.session
    found = minimise(earlier, session, fails_after, budget=product.settings.batch.prelude_replays)
    return found.prelude if found.reproduced else None


def _fails(arena: Arena, graders: GraderSet, content: CaseContent, image: str) -> bool:
    if not content.graders:
        return False
    return any(trial.outcome == "fail" for trial in arena.run([_job(content, image)], graders.grade))


def _job(content: CaseContent, image: str) -> Job:
    case = VisibleCase(**{name: getattr(content, name) for name in CaseContent.model_fields})
    return Job(case, "baseline", image, SEED)
