"""Sealing a batch: replay its failures on the live image, find the prelude that each needs, then freeze and split.

Evidence may not import trial, so the two meet here.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from evidence import draft as drafts
from evidence import seal as seals
from evidence.cases import CaseContent, RecordedTurn, SealedBatch, VisibleCase
from evidence.records import CaseRecord
from evidence.seal import Baseline, NotReady
from evidence.split import SealPolicy
from evolve.arenas import open_arena
from evolve.errors import NeedsConsent, Refused
from evolve.product import Product
from evolve.swaps import live_commit
from trial.admission import nothing_passes
from trial.arena import Arena
from trial.graders import GraderSet
from trial.minimise import minimise
from trial.plan import Job
from trial.report import Trial

SEED = 1
Prelude = tuple[RecordedTurn, ...]


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
    policy = product.settings.batch.seal_policy
    known = drafts.draft(product.store, batch_id, policy)
    confirmed = _confirm_failures(product, arena, known.failures, image, policy, progress)
    progress(f"{confirmed} failures happen again on the live image")
    fresh = [record.id for record in known.regression if record.state == "candidate"]
    idle = _refuse_idle(product, fresh)
    drafts.skip_check(
        product.store,
        batch_id,
        [case for case in fresh if case not in idle],
        who="evolve",
        reason="the trial replays them on the baseline anyway",
    )
    try:
        return seals.seal(
            product.store,
            batch_id,
            Baseline(product.manifest.name, image, live_commit(product.settings, product.store)),
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


def _refuse_idle(product: Product, case_ids: Sequence[str]) -> set[str]:
    """Refuse the cases that an agent which does nothing passes."""
    refused = set()
    for case_id in case_ids:
        content = drafts.case_content(product.store, case_id, None, product.graders.refs_for)
        reason = nothing_passes(content, product.graders) if content.graders else None
        if reason is not None:
            drafts.confirm_case(product.store, case_id, (), False, reason=reason)
            refused.add(case_id)
    return refused


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
    alone = _fail_alone(product, arena, records[:wanted], image)
    confirmed = 0
    with _Minimisers(product, image) as minimisers:
        for number, (record, found) in enumerate(minimisers.preludes(records, alone), 1):
            reason = _refusal(product, record, found)
            drafts.confirm_case(product.store, record.id, found or (), not reason, reason=reason)
            confirmed += not reason
            progress(f"replayed {number} of {len(records)} failures, {confirmed} confirmed")
            if confirmed >= wanted:
                break
    return confirmed


def _refusal(product: Product, record: CaseRecord, prelude: Prelude | None) -> str:
    """Why a failure can't be a case, or nothing."""
    if prelude is None:
        return "does not fail again on the live image"
    return nothing_passes(_content(product, record, prelude), product.graders) or ""


class _Minimisers:
    """Several cases at a time, each worker with an arena of its own: one case's replays depend on one another."""

    def __init__(self, product: Product, image: str) -> None:
        self._product, self._image = product, image
        self._stack = ExitStack()
        self._arenas: SimpleQueue[Arena] = SimpleQueue()
        self._threads = ThreadPoolExecutor(product.settings.run.workers, thread_name_prefix="minimise")

    def __enter__(self) -> "_Minimisers":
        for _ in range(self._product.settings.run.workers):
            arena = open_arena(self._product, self._product.manifest, workers=1)
            self._arenas.put(self._stack.enter_context(arena))
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def preludes(
        self, records: Sequence[CaseRecord], alone: Mapping[str, bool]
    ) -> Iterator[tuple[CaseRecord, Prelude | None]]:
        """Each case with the shortest prelude found, or None, in the order of the cases."""
        waiting = deque(records)
        under_way: deque[tuple[CaseRecord, Future[Prelude | None]]] = deque()
        while waiting or under_way:
            while waiting and len(under_way) < 2 * self._product.settings.run.workers:
                record = waiting.popleft()
                under_way.append((record, self._threads.submit(self._one, record, alone.get(record.id))))
            record, future = under_way.popleft()
            yield record, future.result()

    def _one(self, record: CaseRecord, alone: bool | None) -> Prelude | None:
        if alone:
            return ()
        arena = self._arenas.get()
        try:
            return _prelude(self._product, arena, record, self._image, alone)
        finally:
            self._arenas.put(arena)


def _fail_alone(product: Product, arena: Arena, records: Sequence[CaseRecord], image: str) -> dict[str, bool]:
    """Case -> whether it fails with no prelude at all, found several at a time: most failures do."""
    contents = [_content(product, record, ()) for record in records]
    jobs = [_job(content, image) for content in contents if content.graders]
    by_id = {content.id: content for content in contents}
    trials = arena.run(jobs, product.graders.grade)
    return {trial.case_id: _same_failure(by_id[trial.case_id], trial) for trial in trials}


def _prelude(
    product: Product, arena: Arena, record: CaseRecord, image: str, alone: bool | None
) -> Prelude | None:
    """The shortest prelude found after which the case fails; None when it never does. `alone`: whether it does with
    none, if that is known."""
    earlier = drafts.prelude_candidates(product.store, record.id)

    def fails_after(prelude: tuple[RecordedTurn, ...]) -> bool:
        if not prelude and alone is not None:
            return alone
        return _fails(arena, product.graders, _content(product, record, prelude), image)

    session = drafts.case_content(product.store, record.id).turn.session
    found = minimise(earlier, session, fails_after, budget=product.settings.batch.prelude_replays)
    return found.prelude if found.reproduced else None


def _content(product: Product, record: CaseRecord, prelude: tuple[RecordedTurn, ...]) -> CaseContent:
    on_tool_miss = product.settings.batch.on_tool_miss
    return drafts.case_content(product.store, record.id, prelude, product.graders.refs_for, on_tool_miss)


def _fails(arena: Arena, graders: GraderSet, content: CaseContent, image: str) -> bool:
    if not content.graders:
        return False
    return any(_same_failure(content, trial) for trial in arena.run([_job(content, image)], graders.grade))


def _same_failure(content: CaseContent, trial: Trial) -> bool:
    """Failing for another reason than in production is not the failure happening again."""
    if trial.outcome != "fail":
        return False
    told = [signal.reason for signal in content.signals if signal.kind in ("rule", "grader")]
    return not told or any(reason in trial.reason for reason in told)


def _job(content: CaseContent, image: str) -> Job:
    case = VisibleCase(**{name: getattr(content, name) for name in CaseContent.model_fields})
    return Job(case, "baseline", image, SEED)
