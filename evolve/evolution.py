"""Runs from the outside: make one for a sealed batch, work on it, whoever does the work."""

from collections.abc import Callable

from evidence import batch as batches
from evidence.cases import SealedBatch
from evidence.store import NotFound as EvidenceNotFound
from evolve import pipeline, runs
from evolve.arenas import open_arena
from evolve.budget import Budget
from evolve.coding import get_coder
from evolve.coding.protocol import Missing
from evolve.context import RunContext
from evolve.errors import BadInput, NeedsConsent, NotFound
from evolve.product import Product
from evolve.settings import RunSection
from evolve.tables import RunRow

Listener = Callable[[str, str], None]


def start_run(
    product: Product, batch_id: str, *, requester: str, reason: str, seed: int, options: dict[str, object]
) -> str:
    """Store a run for a sealed batch; nothing is worked on yet.

    `options` override the [run] settings by name; `detached` says that a worker will do it. Raises NotFound, BadInput,
    NeedsConsent (the batch is not sealed against the live image, or is being evolved).
    """
    sealed = load_sealed(product, batch_id)
    if sealed.baseline_digest != product.live_image():
        raise NeedsConsent(
            f"batch {batch_id} was sealed against an image that is no longer live",
            hint=f"`evolve batch seal {batch_id} --reason …` seals it anew",
        )
    section = run_section(product, options)
    coder = get_coder(section.coder, product.settings, section)
    found = coder.probe()
    if isinstance(found, Missing):
        raise BadInput(found.reason)
    run_id = runs.create_run(
        product.store,
        RunRow(
            batch_id=batch_id,
            batch_digest=sealed.digest,
            requester=requester,
            reason=reason,
            coder=section.coder,
            seed=seed,
            options=options,
        ),
    )
    batches.mark(product.store, batch_id, "evolving", reason=f"run {run_id}", who=requester)
    product.ledger.append("run.started", {"run": run_id, "batch": batch_id}, who=requester, reason=reason)
    return run_id


def work_on(product: Product, run_id: str, listener: Listener | None = None) -> str:
    """Work on a run from wherever it stands; returns the verdict word, empty when it was stopped.

    Raises NeedsConsent when another process works on it or it has ended.
    """
    with product.store.read() as session:
        row = runs.get_run(session, run_id)
    if row.state == "finished":
        return row.verdict or ""
    with runs.run_lock(product.settings.home / "runs" / run_id):
        sealed = load_sealed(product, row.batch_id)
        if sealed.digest != row.batch_digest:
            raise NeedsConsent(f"run {run_id}: its batch was sealed anew", hint="start another run")
        batches.mark(product.store, row.batch_id, "evolving", reason=f"run {run_id}", who=row.requester)
        section = run_section(product, row.options)
        meter = product.settings.home / "runs" / run_id / "meter.json"
        with open_arena(product, product.manifest, meter) as arena:
            context = RunContext(
                settings=product.settings.model_copy(update={"run": section}),
                store=product.store,
                runtime=product.runtime,
                arena=arena,
                graders=product.graders,
                coder=get_coder(section.coder, product.settings, section),
                manifest=product.manifest,
                batch=sealed,
                run_id=run_id,
                seed=row.seed,
                budget=Budget(section, seconds_before=row.seconds, trials=row.trials),
                listener=listener,
            )
            word = pipeline.execute(context)
    product.ledger.append("run.ended", {"run": run_id, "verdict": word}, who="evolve")
    return word


def run_section(product: Product, options: dict[str, object]) -> RunSection:
    """The [run] settings with this run's own values on top."""
    own = {name: value for name, value in options.items() if name in RunSection.model_fields}
    return RunSection.model_validate({**product.settings.run.model_dump(), **own})


def load_sealed(product: Product, batch_id: str) -> SealedBatch:
    """The frozen batch. Raises NotFound, or NeedsConsent when nobody has sealed it."""
    try:
        return batches.load_sealed(product.store, batch_id)
    except EvidenceNotFound as error:
        if "never sealed" in str(error):
            raise NeedsConsent(str(error), hint=f"`evolve batch seal {batch_id} --reason …`") from None
        raise NotFound(str(error), hint="`evolve batch list` names them") from None
