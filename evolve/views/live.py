"""A run at this moment, for whoever watches it."""

from evolve.run_section import run_section
from evolve.settings import Settings
from evolve.views.costs import Cost
from evolve.views.record import Record
from evolve.views.runs import RunDetail, RunSummary, StageView
from trial.progress import Progress


class Live(Record):
    run: str
    state: str
    verdict: str | None
    stage: str
    """Under way, else the last one; empty before the first."""
    iteration: int
    proposal: int
    round: int
    candidate: str | None
    """Whom this stage is about; None before it is built, and where it is about all of them."""
    progress: Progress | None
    """Of this stage's replays."""
    e_value: float | None
    e_needed: float | None
    """The latest evidence for a gain, and what a verdict needs; None before the first comparison."""
    spent: Cost
    limits: Cost


def live(settings: Settings, detail: RunDetail) -> Live:
    run, last = detail.run, detail.stages[-1] if detail.stages else None
    progress = last.progress if last else None
    measured = next((p for p in _latest_first(detail) if p.e_value is not None), None)
    return Live(
        run=run.id,
        state=run.state,
        verdict=run.verdict,
        stage=run.stage,
        iteration=run.iteration,
        proposal=last.proposal if last else 0,
        round=last.round if last else 0,
        candidate=_candidate(detail, last) if last else None,
        progress=progress,
        e_value=measured.e_value if measured else None,
        e_needed=measured.e_needed if measured else None,
        spent=detail.costs.total,
        limits=limits(settings, run),
    )


def limits(settings: Settings, run: RunSummary) -> Cost:
    """What this run may spend: the settings with its own options."""
    section = run_section(settings, run.options)
    return Cost(
        usd_micros=section.max_micro_usd,
        tokens=section.max_tokens,
        trials=section.max_trials,
        seconds=section.max_minutes * 60,
    )


def _latest_first(detail: RunDetail) -> list[Progress]:
    return [stage.progress for stage in reversed(detail.stages) if stage.progress is not None]


def _candidate(detail: RunDetail, stage: StageView) -> str | None:
    if stage.candidate_id is not None or not stage.proposal:
        return stage.candidate_id
    place = (stage.iteration, stage.proposal)
    return next((c.id for c in detail.candidates if (c.iteration, c.proposal) == place), None)
