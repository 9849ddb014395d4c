"""Runs from the outside: make one for a sealed batch, work on it, whoever does the work."""

from collections.abc import Callable
from contextlib import suppress

from evidence import batch as batches
from evidence import queries
from evidence.cases import SealedBatch
from evidence.store import NotFound as EvidenceNotFound
from evolve import pipeline, runs
from evolve.arenas import open_arena
from evolve.books import Books
from evolve.budget import Budget
from evolve.coding import get_coder
from evolve.coding.protocol import CodingCli, Missing
from evolve.context import RunContext
from evolve.errors import BadInput, NeedsConsent, NotFound, Refused
from evolve.prices import require_prices
from evolve.product import Product
from evolve.run_section import run_section
from evolve.settings import RunSection
from evolve.stages.verdict import conclude
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
    _require_open(product, batch_id)
    if sealed.baseline_digest != product.live_image():
        raise NeedsConsent(
            f"batch {batch_id} was sealed against an image that is no longer live",
            hint=f"`evolve batch seal {batch_id} --reason …` seals it anew",
        )
    section = run_section(product.settings, options)
    require_prices(product.settings, section)
    for coder in _coders(product, section).values():
        if isinstance(found := coder.probe(), Missing):
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
    if (row := _row(product, run_id)).state == "finished":
        return row.verdict or ""
    with runs.run_lock(product.settings.home / "runs" / run_id):
        row = _row(product, run_id)
        if row.state == "stopping":
            runs.mark_stopped(product.store, run_id)
            return ""
        sealed = load_sealed(product, row.batch_id)
        if sealed.digest != row.batch_digest:
            raise NeedsConsent(f"run {run_id}: its batch was sealed anew", hint="start another run")
        _claim(product, row)
        section = run_section(product.settings, row.options)
        meter = product.settings.home / "runs" / run_id / "meter.json"
        with open_arena(product, product.manifest, section, meter) as arena:
            budget = Budget(
                section,
                seconds_before=row.seconds,
                trials=row.trials,
                usd_micros=row.usd_micros,
                tokens=row.tokens,
            )
            context = RunContext(
                settings=product.settings.model_copy(update={"run": section}),
                store=product.store,
                runtime=product.runtime,
                arena=arena,
                graders=product.graders,
                coders=_coders(product, section),
                manifest=product.manifest,
                batch=sealed,
                run_id=run_id,
                seed=row.seed,
                budget=budget,
                books=Books(product.store, budget, lambda: arena.spent),
                listener=listener,
            )
            decided = pipeline.execute(context)
        # only now: a run that is finished is not resumed, and nothing of its arena may be left by a kill
        if decided is not None:
            conclude(context, decided)
        return decided.word if decided is not None else ""


def stop_run(product: Product, run_id: str) -> str:
    """Ask a run to stop; at once when nobody works on it. Returns its new state."""
    state = runs.request_stop(product.store, run_id)
    if state == "stopping":
        with suppress(NeedsConsent), runs.run_lock(product.settings.home / "runs" / run_id):
            if _row(product, run_id).state == "stopping":
                runs.mark_stopped(product.store, run_id)
        state = _row(product, run_id).state
    return state


def _coders(product: Product, section: RunSection) -> dict[str, CodingCli]:
    """Raises BadInput for a name that nobody configured."""
    return {name: get_coder(name, product.settings, section) for name in section.everybody}


def _row(product: Product, run_id: str) -> RunRow:
    with product.store.read() as session:
        return runs.get_run(session, run_id)


def _require_open(product: Product, batch_id: str) -> str:
    """The batch's state. Raises NeedsConsent or Refused when nothing may evolve it."""
    state = queries.get_batch(product.store, batch_id).state
    if state == "ready":
        raise NeedsConsent(
            f"batch {batch_id} is ready: a candidate waits for a decision", hint="`evolve candidate list`"
        )
    if state not in ("sealed", "evolving"):
        raise Refused(f"batch {batch_id} is {state}: there is nothing to evolve")
    return state


def _claim(product: Product, row: RunRow) -> None:
    """The batch is this run's from here on. One that its own conclusion made `ready` before a kill stays so.

    Raises NeedsConsent or Refused when the batch went another way while the run was stopped.
    """
    runs.require_alone(product.store, row)
    if row.state == "running" and queries.get_batch(product.store, row.batch_id).state == "ready":
        return
    _require_open(product, row.batch_id)
    batches.mark(product.store, row.batch_id, "evolving", reason=f"run {row.id}", who=row.requester)


def load_sealed(product: Product, batch_id: str) -> SealedBatch:
    """The frozen batch. Raises NotFound, or NeedsConsent when nobody has sealed it."""
    try:
        return batches.load_sealed(product.store, batch_id)
    except EvidenceNotFound as error:
        if "never sealed" in str(error):
            raise NeedsConsent(str(error), hint=f"`evolve batch seal {batch_id} --reason …`") from None
        raise NotFound(str(error), hint="`evolve batch list` names them") from None
