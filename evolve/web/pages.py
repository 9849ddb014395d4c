"""The pages that look. None of them changes anything, however often it is asked for."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from evolve import journal, views
from evolve.waiting import what_waits
from evolve.web.decisions import decision_form
from evolve.web.desk import as_attachment, desk_of, signed_in
from evolve.web.live import LIVE_SECONDS, wants_live

router = APIRouter(dependencies=[Depends(signed_in)])


@router.get("/")
def inbox(request: Request) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    waiting = what_waits(desk.settings, desk.store)
    moving = bool(waiting.runs or waiting.swaps) and wants_live(request)
    return desk.page(
        "inbox.html",
        actor,
        refresh=LIVE_SECONDS if moving else 0,
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


@router.get("/candidates/{candidate_id}")
def candidate(request: Request, candidate_id: str) -> Response:
    desk = desk_of(request)
    return decision_form(desk, desk.actor(request), candidate_id)


@router.get("/candidates/{candidate_id}/diff")
def raw_diff(request: Request, candidate_id: str) -> Response:
    """The stored bytes."""
    desk = desk_of(request)
    desk.actor(request)
    known = views.get_candidate(desk.store.read, candidate_id)
    data = views.stored_diff(desk.store, candidate_id)
    return as_attachment(data, f"{known.commit[:12]}.diff")


@router.get("/workflows")
def workflows(request: Request) -> Response:
    desk = desk_of(request)
    actor = desk.actor(request)
    return desk.page("workflows.html", actor, shipped=views.shipped_workflows(desk.settings, desk.store))


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
