"""The record of a run: every stage's stored answer, with the texts that it only names by hash (prompts as they were given,
diffs, transcripts, trials) put in their place."""

import json
from typing import Any

from sqlmodel import select

from evidence.blobs import BlobError
from evidence.store import Store
from evolve.errors import NotFound
from evolve.tables import RunRow, StageRow
from evolve.views import STAGE_ORDER, Record, StageView, stage_view

BLOB = "_blob"
MAX_TEXT = 200_000


class StageRecord(Record):
    stage: StageView
    output: dict[str, Any]
    """What the stage stored; a key `…_blob` became the text that it named, without the ending."""


def record_of(store: Store, run_id: str, stage_name: str | None = None) -> tuple[StageRecord, ...]:
    """Every finished stage in order, or those of one name. Texts are hostile, and cut at 200,000 characters.

    Raises NotFound.
    """
    with store.read() as session:
        if session.get(RunRow, run_id) is None:
            raise NotFound(f"no run {run_id}", hint="`evolve run list` names them")
        query = (
            select(StageRow).where(StageRow.run_id == run_id, StageRow.state == "done").order_by(*STAGE_ORDER)
        )
        rows = [row for row in session.exec(query) if stage_name in (None, row.name)]
        return tuple(StageRecord(stage=stage_view(row), output=_output(store, row)) for row in rows)


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
