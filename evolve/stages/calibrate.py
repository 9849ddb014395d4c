"""Calibrate: does the judge count by now? Told by all that it ever judged in this home, this run's pass included."""

from collections.abc import Iterator

from pydantic import ValidationError
from sqlmodel import select

from evidence.blobs import BlobError
from evolve.context import RunContext
from evolve.judge.calibration import calibrate
from evolve.judge.models import Calibrated, Judged
from evolve.tables import StageRow


def run(context: RunContext, judge: str) -> Calibrated:
    limits = context.settings.run
    found = calibrate(
        judge, _judgements(context), needed_cases=limits.judge_cases, needed=limits.judge_agreement
    )
    context.say("calibrate", f"judge {limits.judge}: {found.reason}")
    return found


def _judgements(context: RunContext) -> Iterator[Judged]:
    """Whatever is stored; what can't be read any more speaks for nobody."""
    with context.store.read() as session:
        query = select(StageRow.output_blob).where(StageRow.name == "agree", StageRow.state == "done")
        blobs = session.exec(query).all()
    for blob in blobs:
        try:
            yield Judged.model_validate_json(context.store.blobs.get(blob or ""))
        except (BlobError, OSError, ValidationError):
            continue
