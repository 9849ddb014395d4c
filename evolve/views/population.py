"""What a run tried: every proposal with its parents, scores, cost and end, beside the controls that it is compared with.

Read from what the stages stored. What can't be read is named in `problems`.
"""

from collections.abc import Iterable

from sqlmodel import select

from evidence.store import Store
from evolve.candidate import Candidate
from evolve.errors import NotFound
from evolve.shelf import Model, Shelf
from evolve.stages.models import (
    Baseline,
    Controls,
    Evaluated,
    Implemented,
    Review,
    Screened,
    Selected,
)
from evolve.tables import CandidateRow, RunRow, StageRow
from evolve.views.candidates import CandidateSummary, candidate_view
from evolve.views.costs import Cost, Where, run_costs
from evolve.views.record import Record
from evolve.views.runs import ACTIVE_RUNS, STAGE_ORDER

UNDER_WAY, UNFINISHED = "under way", "unfinished"


class CaseScore(Record):
    case: str
    share: float
    """Of its replays that passed, in [0, 1]."""
    reason: str
    """Why it does not always pass."""


class Control(Record):
    """Something that mends nothing by itself, measured like a proposal."""

    name: str
    scores: tuple[CaseScore, ...]

    @property
    def gain(self) -> float:
        return sum(score.share for score in self.scores)


class ProposalView(Record):
    iteration: int
    proposal: int
    coder: str
    """Empty where it ended before anybody edited."""
    candidate: CandidateSummary | None
    parents: tuple[str, ...]
    """Candidates that it was made from; none: the baseline."""
    scores: tuple[CaseScore, ...]
    """Visible cases that fail on the baseline; empty before it was screened."""
    breaks: tuple[CaseScore, ...]
    """Visible cases that pass on the baseline and fail here."""
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    """Of all cases, in its trial."""
    files: tuple[str, ...]
    lines_added: int
    lines_removed: int
    cost: Cost
    state: str
    """The candidate's, else: refused, under way, unfinished."""
    why: str
    """Why it was refused or did not converge; hostile text."""

    @property
    def gain(self) -> float:
        return sum(score.share for score in self.scores)

    @property
    def where(self) -> Where:
        return self.iteration, self.proposal


class PopulationView(Record):
    failing: tuple[str, ...]
    """Visible cases that fail on the baseline, replayed in this run."""
    controls: tuple[Control, ...]
    proposals: tuple[ProposalView, ...]
    problems: tuple[str, ...]

    def made(self, candidate_id: str) -> Where | None:
        """Where a candidate comes from; None when it is not of this run."""
        found = (
            p.where for p in self.proposals if p.candidate is not None and p.candidate.id == candidate_id
        )
        return next(found, None)


def get_population(store: Store, run_id: str) -> PopulationView:
    """Raises NotFound."""
    run, stages, rows = load_run(store, run_id)
    return population_of(run, stages, rows, Outputs(stages, Shelf(store.blobs)))


def population_of(
    run: RunRow, stages: Iterable[StageRow], rows: Iterable[CandidateRow], outputs: "Outputs"
) -> PopulationView:
    """The same of what was loaded already."""
    known = outputs.last((0, 0), "baseline", Baseline)
    candidates = {(row.iteration, row.proposal): row for row in rows}
    costs = run_costs(run, stages, {row.id: where for where, row in candidates.items()})
    spent = {(one.iteration, one.proposal): one.cost for one in costs.proposals}
    places = sorted(
        {(stage.iteration, stage.proposal) for stage in stages if stage.proposal} | set(candidates)
    )
    proposals = tuple(
        _proposal(outputs, run, where, candidates.get(where), spent.get(where, Cost())) for where in places
    )
    return PopulationView(
        failing=known.failing if known else (),
        controls=_controls(known, outputs.last((0, 0), "controls", Controls)),
        proposals=proposals,
        problems=tuple(outputs.shelf.problems),
    )


def load_run(store: Store, run_id: str) -> tuple[RunRow, list[StageRow], list[CandidateRow]]:
    """A run with its stages in order and its candidates. Raises NotFound."""
    with store.read() as session:
        run = session.get(RunRow, run_id)
        if run is None:
            raise NotFound(f"no run {run_id}", hint="`evolve run list` shows them")
        stages = session.exec(select(StageRow).where(StageRow.run_id == run_id).order_by(*STAGE_ORDER)).all()
        candidates = session.exec(select(CandidateRow).where(CandidateRow.run_id == run_id)).all()
        return run, list(stages), list(candidates)


class Outputs:
    """What the stages of a run stored."""

    def __init__(self, stages: Iterable[StageRow], shelf: Shelf) -> None:
        self.shelf = shelf
        self._done = [stage for stage in stages if stage.state == "done" and stage.output_blob]

    def all(self, where: Where, name: str, shape: type[Model]) -> list[tuple[int, Model]]:
        """Of every round there, with its number."""
        found = [(stage.round, self._read(stage, shape)) for stage in self._of(where, name)]
        return [(number, model) for number, model in found if model is not None]

    def last(self, where: Where, name: str, shape: type[Model]) -> Model | None:
        """Of the latest round that can be read."""
        latest_first = sorted(self._of(where, name), key=lambda stage: stage.round, reverse=True)
        models = (self._read(stage, shape) for stage in latest_first)
        return next((model for model in models if model is not None), None)

    def _of(self, where: Where, name: str) -> list[StageRow]:
        return [s for s in self._done if (s.iteration, s.proposal, s.name) == (*where, name)]

    def _read(self, stage: StageRow, shape: type[Model]) -> Model | None:
        return self.shelf.model(stage.name, stage.output_blob, shape)

    def evaluated(self, candidate_id: str) -> Evaluated | None:
        """What a candidate's trial showed."""
        names = {s.iteration for s in self._done if (s.name, s.candidate_id) == ("evaluate", candidate_id)}
        return next((self.last((number, 0), "evaluate", Evaluated) for number in names), None)

    def second_scores(self, candidate_id: str) -> dict[str, float]:
        """Shares over both looks; empty where there was one look only."""
        passes = {stage.iteration for stage in self._done if stage.name == "select"}
        looks = (self.last((number, 0), "select", Selected) for number in sorted(passes, reverse=True))
        return next((s.scores[candidate_id] for s in looks if s and candidate_id in s.scores), {})


def _controls(known: Baseline | None, again: Controls | None) -> tuple[Control, ...]:
    if known is None:
        return ()
    unchanged = [
        CaseScore(case=case, share=0.0, reason=known.reasons.get(case, "")) for case in known.failing
    ]
    asked = again.rerun.items() if again else ()
    repeated = [CaseScore(case=case, share=share, reason="") for case, share in asked]
    none, rerun = (
        Control(name="no change", scores=tuple(unchanged)),
        Control(name="re-run", scores=tuple(repeated)),
    )
    return (none, rerun) if again else (none,)


def _proposal(
    outputs: Outputs, run: RunRow, where: Where, row: CandidateRow | None, cost: Cost
) -> ProposalView:
    made = outputs.shelf.model("candidate", row.candidate_blob, Candidate) if row else None
    edit = outputs.last(where, "implement", Implemented) or outputs.last(where, "combine", Implemented)
    screened = outputs.last(where, "screen", Screened)
    tried = outputs.evaluated(row.id) if row else None
    shares = {**screened.scores, **outputs.second_scores(row.id)} if screened and row else {}
    reasons = screened.reasons if screened else {}
    state, why = _end(outputs, run, where, row, screened, tried)
    return ProposalView(
        iteration=where[0],
        proposal=where[1],
        coder=edit.coder if edit else "",
        candidate=candidate_view(row) if row else None,
        parents=made.parents if made else (),
        scores=tuple(_scores(shares, reasons)),
        breaks=tuple(_scores(dict.fromkeys(screened.lost, 0.0) if screened else {}, reasons)),
        gained=tried.gained if tried else (),
        lost=tried.lost if tried else (),
        files=made.files if made else (),
        lines_added=made.lines_added if made else 0,
        lines_removed=made.lines_removed if made else 0,
        cost=cost,
        state=state,
        why=why,
    )


def _scores(shares: dict[str, float], reasons: dict[str, str]) -> Iterable[CaseScore]:
    return (CaseScore(case=case, share=share, reason=reasons.get(case, "")) for case, share in shares.items())


def _end(
    outputs: Outputs,
    run: RunRow,
    where: Where,
    row: CandidateRow | None,
    screened: Screened | None,
    tried: Evaluated | None,
) -> tuple[str, str]:
    """What became of it, and why."""
    open_word = UNDER_WAY if run.state in ACTIVE_RUNS else UNFINISHED
    if row is None:
        reviews = outputs.last(where, "code_review", Review) or outputs.last(where, "plan_review", Review)
        if reviews is not None and not reviews.ok:
            return "refused", reviews.reason
        merged = outputs.last(where, "combine", Implemented)
        if merged is not None and merged.commit is None:
            return "refused", "the two changes don't fit together"
        return open_word, ""
    if screened is None:
        return open_word, ""
    if tried is not None:
        return row.state, "" if tried.word == "converged" else "; ".join(tried.reasons)
    if screened.lost:
        return row.state, f"breaks what passes on the live image: {len(screened.lost)} of the visible cases"
    if not any(screened.scores.values()):
        return row.state, f"mends none of {len(screened.scores)} visible cases"
    return row.state, "was not tried on held-out cases" if run.state not in ACTIVE_RUNS else ""
