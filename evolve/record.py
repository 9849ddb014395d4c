"""The record of a run: what it cost and what it tried, and every stage's stored answer, with the texts that this only names
by hash (prompts as they were given, diffs, transcripts, trials) put in their place."""

import json
from typing import Any

from sqlmodel import select

from evidence.blobs import BlobError
from evidence.store import Store
from evolve.settings import Settings
from evolve.tables import StageRow
from evolve.views import (
    STAGE_ORDER,
    Cost,
    PopulationView,
    Record,
    RunCosts,
    RunSummary,
    StageView,
    get_population,
    get_run,
    limits,
    stage_view,
)

BLOB = "_blob"
MAX_TEXT = 200_000


class StageRecord(Record):
    stage: StageView
    output: dict[str, Any]
    """What the stage stored; a key `…_blob` became the text that it named, without the ending."""


class RunRecord(Record):
    run: RunSummary
    limits: Cost
    costs: RunCosts
    population: PopulationView
    stages: tuple[StageRecord, ...]


def record_of(settings: Settings, store: Store, run_id: str, stage_name: str | None = None) -> RunRecord:
    """Every finished stage in order, or those of one name. Texts are hostile, and cut at 200,000 characters.

    Raises NotFound.
    """
    detail = get_run(store.read, run_id, max_events=0)
    with store.read() as session:
        query = (
            select(StageRow).where(StageRow.run_id == run_id, StageRow.state == "done").order_by(*STAGE_ORDER)
        )
        rows = [row for row in session.exec(query) if stage_name in (None, row.name)]
    return RunRecord(
        run=detail.run,
        limits=limits(settings, detail.run),
        costs=detail.costs,
        population=get_population(store, run_id),
        stages=tuple(StageRecord(stage=stage_view(row), output=_output(store, row)) for row in rows),
    )


def _output(store: Store, row: StageRow) -> dict[str, Any]:
    try:
        found = json.loads(store.blobs.get(row.output_blob or ""))
    except (BlobError, OSError, ValueError) as error:
        return {"problem": f"what it stored is gone: {error}"}
    filled: dict[str, Any] = _filled(store, found)
    return filled


def _filled(store: Store, value: Any) -> Any:
    if isinstance(value, dict):
        return dict(_field(store, name, inner) for name, inner in value.items())
    if isinstance(value, list):
        return [_filled(store, inner) for inner in value]
    return value


def _field(store: Store, name: str, value: Any) -> tuple[str, Any]:
    if not name.endswith(BLOB) or not isinstance(value, str):
        return name, _filled(store, value)
    try:
        text = store.blobs.get(value).decode("utf-8", "replace")
    except (BlobError, OSError) as error:
        text = f"(gone: {error})"
    return name.removesuffix(BLOB), text[:MAX_TEXT]
