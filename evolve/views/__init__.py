"""Looking, never touching: batches, runs and candidates as frozen records, for the CLI's listings, the page and the
control API alike. What the ledgers tell is in `evolve.journal`.

Nothing here writes, and nothing here decides. Texts in these records are as hostile as what they were read
from; `evolve.sanitize` and the templates make them safe to show.
"""

from evolve.views.batches import BatchReport, BatchView, get_batch, list_batches, report_batch
from evolve.views.candidates import (
    CandidateDiff,
    CandidateSummary,
    Decided,
    SwapAsked,
    get_candidate,
    get_diff,
    list_candidates,
    stored_diff,
)
from evolve.views.costs import Cost, ProposalCost, RunCosts, StageCost
from evolve.views.live import Live, limits, live
from evolve.views.people import PersonView, list_people
from evolve.views.population import PopulationView, ProposalView, get_population
from evolve.views.proposal import ProposalDetail, get_proposal
from evolve.views.record import Record, SessionFactory, aware
from evolve.views.runs import (
    ACTIVE_RUNS,
    STAGE_ORDER,
    RunDetail,
    RunEvent,
    RunSummary,
    StageView,
    get_run,
    list_runs,
    stage_view,
)
from evolve.views.workflows import ShippedWorkflow, WorkflowChange, shipped_workflows, workflow_changes

__all__ = [
    "ACTIVE_RUNS",
    "STAGE_ORDER",
    "BatchReport",
    "BatchView",
    "CandidateDiff",
    "CandidateSummary",
    "Cost",
    "Decided",
    "Live",
    "PersonView",
    "PopulationView",
    "ProposalCost",
    "ProposalDetail",
    "ProposalView",
    "Record",
    "RunCosts",
    "RunDetail",
    "RunEvent",
    "RunSummary",
    "SessionFactory",
    "ShippedWorkflow",
    "StageCost",
    "StageView",
    "SwapAsked",
    "WorkflowChange",
    "aware",
    "get_batch",
    "get_candidate",
    "get_diff",
    "get_population",
    "get_proposal",
    "get_run",
    "limits",
    "list_batches",
    "list_candidates",
    "list_people",
    "list_runs",
    "live",
    "report_batch",
    "shipped_workflows",
    "stage_view",
    "stored_diff",
    "workflow_changes",
]
