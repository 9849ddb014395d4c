"""What may be looked at: the same records as the CLI's `--json`, from the same functions."""

from fastapi import APIRouter, Depends, Request

from evidence import queries
from evidence.records import BatchRecord, EvidenceRecord
from evolve import journal, views, waiting
from evolve.journal import HistoryEntry, SwapView
from evolve.story import Story, candidate_story
from evolve.views import (
    BatchReport,
    CandidateDiff,
    CandidateSummary,
    PersonView,
    PopulationView,
    RunDetail,
    RunSummary,
    ShippedWorkflow,
)
from evolve.waiting import Waiting
from evolve.web.api.answers import ALWAYS
from evolve.web.api.asked import (
    BatchQuery,
    CandidateQuery,
    EventQuery,
    EvidenceQuery,
    HistoryQuery,
    Id,
    PageQuery,
    RunQuery,
    no_query,
    once_each,
)
from evolve.web.api.door import Looking
from evolve.web.desk import desk_of

router = APIRouter(prefix="/api/v1", responses=ALWAYS, dependencies=[Depends(once_each)])
bare = [Depends(no_query)]


@router.get("/me", dependencies=bare)
def me(request: Request, who: Looking) -> PersonView:
    """Who asks, with the roles that they have now."""
    people = views.list_people(desk_of(request).settings_now)
    return next(person for person in people if person.name == who.person)


@router.get("/people", dependencies=bare)
def people(request: Request, who: Looking) -> tuple[PersonView, ...]:
    """Who is registered, as `evolve people list`."""
    return views.list_people(desk_of(request).settings_now)


@router.get("/waiting", dependencies=bare)
def what_waits(request: Request, who: Looking) -> Waiting:
    """What waits for a decision, and what is under way: the page's inbox."""
    desk = desk_of(request)
    return waiting.what_waits(desk.settings, desk.store)


@router.get("/batches")
def batches(request: Request, who: Looking, asked: BatchQuery) -> tuple[BatchRecord, ...]:
    """As `evolve batch list`."""
    return views.list_batches(
        desk_of(request).store, state=asked.state, limit=asked.limit, offset=asked.offset
    )


@router.get("/batches/{batch_id}", dependencies=bare)
def batch(request: Request, who: Looking, batch_id: Id) -> BatchReport:
    """As `evolve batch show`."""
    desk = desk_of(request)
    return views.report_batch(desk.settings, desk.store, batch_id)


@router.get("/batches/{batch_id}/evidence")
def evidence(
    request: Request, who: Looking, batch_id: Id, asked: EvidenceQuery
) -> tuple[EvidenceRecord, ...]:
    """The failed turns of a batch, as `evolve evidence list --batch`."""
    store = desk_of(request).store
    views.get_batch(store, batch_id, max_evidence=0)
    return tuple(queries.list_evidence(store, batch_id=batch_id, limit=asked.limit, before=asked.before))


@router.get("/runs")
def runs(request: Request, who: Looking, asked: RunQuery) -> tuple[RunSummary, ...]:
    """As `evolve run list`."""
    return views.list_runs(desk_of(request).store.read, asked.batch, limit=asked.limit, offset=asked.offset)


@router.get("/runs/{run_id}")
def run(request: Request, who: Looking, run_id: Id, asked: EventQuery) -> RunDetail:
    """As `evolve run status`, with the newest `limit` events after `after_event`."""
    read = desk_of(request).store.read
    return views.get_run(read, run_id, after_event=asked.after_event, max_events=asked.limit)


@router.get("/runs/{run_id}/population", dependencies=bare)
def population(request: Request, who: Looking, run_id: Id) -> PopulationView:
    """What a run tried: every proposal with its parents, scores, cost and end, as in `evolve run show`."""
    return views.get_population(desk_of(request).store, run_id)


@router.get("/candidates")
def candidates(request: Request, who: Looking, asked: CandidateQuery) -> tuple[CandidateSummary, ...]:
    """As `evolve candidate list`."""
    return views.list_candidates(
        desk_of(request).store.read,
        state=asked.state,
        run_id=asked.run,
        limit=asked.limit,
        offset=asked.offset,
    )


@router.get("/candidates/{candidate_id}", dependencies=bare)
def candidate(request: Request, who: Looking, candidate_id: Id) -> Story:
    """The whole story, held-out inputs included, as `evolve candidate show`."""
    desk = desk_of(request)
    return candidate_story(desk.settings_now, desk.store, candidate_id)


@router.get("/candidates/{candidate_id}/diff", dependencies=bare)
def diff(request: Request, who: Looking, candidate_id: Id) -> CandidateDiff:
    """The change, as `evolve candidate diff`."""
    return views.get_diff(desk_of(request).store, candidate_id)


@router.get("/workflows", dependencies=bare)
def workflows(request: Request, who: Looking) -> tuple[ShippedWorkflow, ...]:
    """Those that ship with the live service, in their canonical form; what is no workflow says why."""
    desk = desk_of(request)
    return views.shipped_workflows(desk.settings, desk.store)


@router.get("/swaps")
def swaps(request: Request, who: Looking, asked: PageQuery) -> tuple[SwapView, ...]:
    """Each with its steps, as the promoter journaled them."""
    return journal.list_swaps(desk_of(request).settings, limit=asked.limit, offset=asked.offset)


@router.get("/swaps/{swap_id}", dependencies=bare)
def swap(request: Request, who: Looking, swap_id: Id) -> SwapView:
    """One swap, while it happens and after."""
    return journal.get_swap(desk_of(request).settings, swap_id)


@router.get("/history")
def history(request: Request, who: Looking, asked: HistoryQuery) -> tuple[HistoryEntry, ...]:
    """What both ledgers hold, as `evolve audit tail`, newest first."""
    everything = asked.rows == "all"
    return journal.history(
        desk_of(request).settings,
        asked.limit,
        offset=asked.offset,
        mechanical=everything,
        steps=everything,
    )
