"""One proposal, whole: what was planned, what was edited, what its reviewers said, and what everybody was asked."""

from evidence.store import Store
from evolve.errors import NotFound
from evolve.shelf import Shelf
from evolve.stages.models import Asked, Implemented, Opinion, Plan, PlanAnswer, Review
from evolve.views.costs import Where
from evolve.views.population import Outputs, PopulationView, ProposalView, load_run, population_of
from evolve.views.record import Record
from trial.report import Check

REVIEWS = ("plan_review", "code_review")


class PlanView(Record):
    round: int
    coder: str
    answer: PlanAnswer | None
    trouble: str
    """Why there is no answer."""


class ReviewView(Record):
    stage: str
    round: int
    ok: bool
    word: str
    """The verdict that it leads to when it refuses."""
    reason: str
    checks: tuple[Check, ...]
    coder: str
    """Who argued against it; empty where nobody did."""
    opinion: Opinion | None
    trouble: str
    """Why there is no opinion."""


class EditView(Record):
    """What a coder left behind, or git, of two that were merged."""

    round: int
    coder: str
    outcome: str
    reason: str
    seconds: float
    diff: str
    """Against the baseline; hostile text."""


class PromptView(Record):
    stage: str
    round: int
    file: str
    """Of `evolve/prompts/`."""
    sha256: str
    """The file's, as it was then."""
    text: str
    """Word for word as it was given; hostile text."""


class ProposalDetail(Record):
    proposal: ProposalView
    population: PopulationView
    """Among which it stands."""
    plans: tuple[PlanView, ...]
    reviews: tuple[ReviewView, ...]
    edits: tuple[EditView, ...]
    prompts: tuple[PromptView, ...]
    problems: tuple[str, ...]

    def reviews_of(self, stage: str) -> tuple[ReviewView, ...]:
        return tuple(review for review in self.reviews if review.stage == stage)


def get_proposal(store: Store, run_id: str, where: Where) -> ProposalDetail:
    """Raises NotFound."""
    run, stages, rows = load_run(store, run_id)
    outputs = Outputs(stages, Shelf(store.blobs))
    population = population_of(run, stages, rows, outputs)
    found = next((proposal for proposal in population.proposals if proposal.where == where), None)
    if found is None:
        raise NotFound(f"run {run_id} has no proposal {where[1]} in pass {where[0]}")
    plans = outputs.all(where, "plan", Plan)
    reviews = [(name, *one) for name in REVIEWS for one in outputs.all(where, name, Review)]
    edits = [
        (name, *one) for name in ("implement", "combine") for one in outputs.all(where, name, Implemented)
    ]
    asked = [("plan", number, plan.asked) for number, plan in plans]
    asked += [(name, number, review.asked) for name, number, review in reviews]
    told = max(plans, key=lambda one: one[0], default=None)
    return ProposalDetail(
        proposal=found,
        population=population,
        plans=tuple(_plan(number, plan) for number, plan in plans if plan.asked),
        reviews=tuple(_review(name, number, review) for name, number, review in reviews),
        edits=tuple(_edit(outputs.shelf, number, edit) for _, number, edit in edits),
        prompts=(
            *(_prompt(outputs.shelf, name, number, one) for name, number, one in asked if one),
            *(
                PromptView(
                    stage=name,
                    round=number,
                    file="implement.md",
                    sha256=told[1].prompt_sha256 if told else "",
                    text=_text(outputs.shelf, "prompt", edit.prompt_blob),
                )
                for name, number, edit in edits
                if edit.prompt_blob
            ),
        ),
        problems=tuple(dict.fromkeys(outputs.shelf.problems)),
    )


def _plan(number: int, plan: Plan) -> PlanView:
    asked = plan.asked
    return PlanView(
        round=number,
        coder=asked.coder if asked else "",
        answer=plan.answer,
        trouble=asked.trouble if asked else "",
    )


def _review(stage: str, number: int, review: Review) -> ReviewView:
    asked = review.asked
    return ReviewView(
        stage=stage,
        round=number,
        ok=review.ok,
        word=review.word,
        reason=review.reason,
        checks=review.checks,
        coder=asked.coder if asked else "",
        opinion=review.opinion,
        trouble=asked.trouble if asked else "",
    )


def _edit(shelf: Shelf, number: int, edit: Implemented) -> EditView:
    return EditView(
        round=number,
        coder=edit.coder,
        outcome=edit.outcome,
        reason=edit.reason,
        seconds=edit.seconds,
        diff=_text(shelf, "diff", edit.diff_blob),
    )


def _prompt(shelf: Shelf, stage: str, number: int, asked: Asked) -> PromptView:
    return PromptView(
        stage=stage,
        round=number,
        file=f"{stage}.md",
        sha256=asked.prompt_sha256,
        text=_text(shelf, "prompt", asked.prompt_blob),
    )


def _text(shelf: Shelf, what: str, blob: str) -> str:
    return shelf.data(what, blob).decode("utf-8", "replace")
