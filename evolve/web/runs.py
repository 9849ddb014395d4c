"""Runs: where one stands, while it works and after, and each of its proposals whole."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from evolve import views
from evolve.errors import NotFound
from evolve.web.desk import Desk, as_attachment, desk_of, signed_in
from evolve.web.diffs import read_diff
from evolve.web.live import LIVE_SECONDS, let_script_in, part, signed_out_part, wants_live

router = APIRouter()
looking = [Depends(signed_in)]

EVENTS = 200


@router.get("/runs", dependencies=looking)
def runs(request: Request) -> Response:
    desk = desk_of(request)
    found = views.list_runs(desk.store.read)
    moving = any(run.active for run in found) and wants_live(request)
    return desk.page("runs.html", desk.actor(request), runs=found, refresh=LIVE_SECONDS if moving else 0)


@router.get("/runs/{run_id}", dependencies=looking)
def run(request: Request, run_id: str) -> Response:
    desk = desk_of(request)
    shown = _shown(desk, run_id)
    moving = shown["detail"].run.active and wants_live(request)
    answer = desk.page("run.html", desk.actor(request), live=moving, seconds=LIVE_SECONDS, **shown)
    return let_script_in(answer) if moving else answer


@router.get("/runs/{run_id}/live")
def run_live(request: Request, run_id: str) -> Response:
    """The part of a run's page that changes."""
    desk = desk_of(request)
    if desk.actor_or_none(request) is None:
        return signed_out_part()
    shown = _shown(desk, run_id)
    return part(desk, "run_live.html", shown["detail"].run.active, **shown)


def _shown(desk: Desk, run_id: str) -> dict[str, Any]:
    detail = views.get_run(desk.store.read, run_id, max_events=EVENTS)
    return {
        "detail": detail,
        "where": views.live(desk.settings, detail),
        "population": views.get_population(desk.store, run_id),
    }


@router.get("/runs/{run_id}/proposals/{iteration}/{number}", dependencies=looking)
def proposal(request: Request, run_id: str, iteration: int, number: int) -> Response:
    desk = desk_of(request)
    found = views.get_proposal(desk.store, run_id, (iteration, number))
    return desk.page(
        "proposal.html",
        desk.actor(request),
        run_id=run_id,
        detail=found,
        population=found.population,
        diffs={edit.round: read_diff(edit.diff) for edit in found.edits},
    )


@router.get("/runs/{run_id}/proposals/{iteration}/{number}/{round_number}/diff", dependencies=looking)
def raw_edit(request: Request, run_id: str, iteration: int, number: int, round_number: int) -> Response:
    """What a coder left in one round."""
    found = views.get_proposal(desk_of(request).store, run_id, (iteration, number))
    edit = next((edit for edit in found.edits if edit.round == round_number), None)
    if edit is None:
        raise NotFound(f"proposal {number} of pass {iteration} has no edit in round {round_number + 1}")
    return as_attachment(edit.diff.encode(), f"{run_id}-{iteration}-{number}-{round_number}.diff")
