"""The pages that look. None of them changes anything, however often it is asked for."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from evolve import journal, views
from evolve.waiting import what_waits
from evolve.web.decisions import decision_form
from evolve.web.desk import desk_of, signed_in

router = APIRouter(dependencies=[Depends(signed_in)])

LIVE_SECONDS = 2
EVENTS = 200
STATIC_AGE = "private, max-age=86400, immutable"


@router.get("/")
def inbox(request: Request) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    waiting = what_waits(desk.settings, desk.store)
    return desk.page(
        "inbox.html",
        actor,
        refresh=_refresh(request, bool(waiting.runs or waiting.swaps)),
        waiting=waiting,
        titles={batch.id: batch.title for batch in views.list_batches(desk.store)},
    )


@router.get("/batches")
def batches(request: Request) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    return desk.page("batches.html", actor, batches=views.list_batches(desk.store))


@router.get("/batches/{batch_id}")
def batch(request: Request, batch_id: str) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    view = views.get_batch(desk.store, batch_id)
    return desk.page("batch.html", actor, view=view, runs=views.list_runs(desk.store.read, batch_id))


@router.get("/runs")
def runs(request: Request) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    found = views.list_runs(desk.store.read)
    return desk.page(
        "runs.html", actor, runs=found, refresh=_refresh(request, any(run.active for run in found))
    )


@router.get("/runs/{run_id}")
def run(request: Request, run_id: str) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    detail = views.get_run(desk.store.read, run_id, max_events=EVENTS)
    return desk.page(
        "run.html",
        actor,
        detail=detail,
        limits=desk.settings.run,
        refresh=_refresh(request, detail.run.active),
    )


@router.get("/candidates/{candidate_id}")
def candidate(request: Request, candidate_id: str) -> Response:
    desk = desk_of(request)
    return decision_form(desk, desk.actor(request), candidate_id)


@router.get("/candidates/{candidate_id}/diff")
def raw_diff(request: Request, candidate_id: str) -> Response:
    """The stored bytes, to save; never to be interpreted by a browser."""
    desk = desk_of(request)
    desk.actor(request)
    known = views.get_candidate(desk.store.read, candidate_id)
    data = views.stored_diff(desk.store, candidate_id)
    disposition = f'attachment; filename="{known.commit[:12]}.diff"'
    return Response(data, media_type="text/plain", headers={"content-disposition": disposition})


@router.get("/history")
def history(request: Request) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    everything = request.query_params.get("rows") == "all"
    return desk.page(
        "history.html",
        actor,
        entries=journal.history(desk.settings, mechanical=everything, steps=everything),
        swaps=journal.list_swaps(desk.settings),
        everything=everything,
    )


def wants_live(request: Request) -> bool:
    """`?live=off` stops what moves, for whoever reads or listens."""
    return request.query_params.get("live") != "off"


def _refresh(request: Request, moving: bool) -> int:
    """Seconds until the browser asks again, by a plain refresh."""
    return LIVE_SECONDS if moving and wants_live(request) else 0
