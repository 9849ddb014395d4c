"""A candidate's story, gathered for the person who decides: what failed, where, what changed, what it proved,
what it cost.

Everything is read from stored bytes whose hashes are checked on the way, against each other too: `problems`
names what does not fit, and a story with problems is no ground for a signature. Held-out inputs appear here
because people read this; nothing that a proposer can reach may call this module.
"""

from sqlmodel import select

from evidence.canonical import digest
from evidence.cases import SealedBatch
from evidence.store import Store
from evolve.candidate import Candidate
from evolve.case_stories import SplitStory, split_stories
from evolve.conversation import Failure, failure
from evolve.distrust import what_to_distrust
from evolve.judge.models import Calibrated, Judged, Keypoints
from evolve.judge.shown import JudgeStory, judge_story
from evolve.settings import Settings
from evolve.shelf import Shelf
from evolve.signatures import Standing, standing
from evolve.stages.models import Implemented, Located, Review, Suspect
from evolve.substrate_facts import SubstrateFacts, substrate_facts
from evolve.tables import CandidateRow, RunRow, StageRow
from evolve.views import (
    CandidateSummary,
    Cost,
    Record,
    RunSummary,
    WorkflowChange,
    get_candidate,
    get_run,
    workflow_changes,
)
from evolve.views.population import Outputs
from trial.report import Check, Split, TrialReport


class Story(Record):
    candidate: CandidateSummary
    run: RunSummary
    cost: Cost
    """Of this candidate alone; the run's is in `run`."""
    proposal: Candidate | None
    report: TrialReport | None
    coder: Implemented | None
    batch_title: str
    failure: Failure | None
    suspects: tuple[Suspect, ...]
    diff: str
    workflows: tuple[WorkflowChange, ...]
    """What it changes in shipped workflows."""
    splits: tuple[SplitStory, ...]
    review: tuple[Check, ...]
    """What the deterministic code review asked, before any trial."""
    judge: JudgeStory | None
    facts: SubstrateFacts
    distrust: tuple[str, ...]
    consent: Standing
    """Who has signed, and how many must."""
    problems: tuple[str, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The report holds the guard's answers too."""
        reported = self.report.checks if self.report else ()
        named = {check.name for check in reported}
        return (*reported, *(check for check in self.review if check.name not in named))

    def split(self, name: Split) -> SplitStory | None:
        return next((split for split in self.splits if split.split == name), None)


def candidate_story(settings: Settings, store: Store, candidate_id: str) -> Story:
    """Raises NotFound. Stored bytes that are gone or don't fit are `problems`, never an exception."""
    summary = get_candidate(store.read, candidate_id)
    detail = get_run(store.read, summary.run_id, max_events=0)
    run = detail.run
    with store.read() as session:
        row = session.get_one(CandidateRow, candidate_id)
        batch_digest = _batch_digest(store, row)
        stages = session.exec(select(StageRow).where(StageRow.run_id == row.run_id)).all()
    shelf = Shelf(store.blobs)
    outputs, here = Outputs(stages, shelf), (row.iteration, row.proposal)
    proposal = shelf.model("candidate", row.candidate_blob, Candidate)
    report = shelf.model("report", row.report_blob, TrialReport)
    batch = shelf.batch(proposal.batch_digest if proposal else batch_digest)
    trials, trials_digest = shelf.trials(row.trials_blob)
    located = outputs.last((0, 0), "locate", Located)
    review = outputs.last(here, "code_review", Review)
    diff = shelf.data("diff", row.diff_blob)
    shown = diff.decode("utf-8", "replace")
    splits = split_stories(batch, trials)
    cases = tuple(case for split in splits for case in split.cases)
    facts = substrate_facts(settings.substrate_repository, proposal)
    repository = settings.substrate_repository
    changed = workflow_changes(repository, proposal.base_commit, proposal.commit) if proposal else ()
    judge = judge_story(
        outputs.last((0, 0), "keypoints", Keypoints),
        outputs.last(here, "agree", Judged),
        outputs.last((row.iteration, 0), "calibrate", Calibrated),
    )
    return Story(
        candidate=summary,
        run=run,
        cost=next((one.cost for one in detail.costs.proposals if one.candidate == candidate_id), Cost()),
        proposal=proposal,
        report=report,
        coder=outputs.last(here, "implement", Implemented),
        batch_title=batch.title if batch else "",
        failure=failure(batch),
        suspects=located.suspects if located else (),
        diff=shown,
        workflows=changed,
        splits=splits,
        review=review.checks if review else (),
        judge=judge,
        facts=facts,
        distrust=what_to_distrust(
            settings, run, proposal, report, batch, cases, facts, judge, shown, changed
        ),
        consent=standing(settings, row.approval_digest, proposal),
        problems=(*shelf.problems, *_misfits(row, proposal, report, batch, diff, trials_digest)),
    )


def _misfits(
    row: CandidateRow,
    proposal: Candidate | None,
    report: TrialReport | None,
    batch: SealedBatch | None,
    diff: bytes,
    trials_digest: str,
) -> list[str]:
    """Every pair of hashes that must be equal and is not."""
    pairs: list[tuple[str, object, object]] = []
    if proposal is not None:
        pairs += [
            ("candidate: hash", proposal.digest, row.digest),
            ("candidate: image", proposal.image, row.image),
            ("candidate: commit", proposal.commit, row.commit),
            ("candidate: hash of the diff", _hex(proposal.diff_sha256), _hex(digest(diff))),
        ]
    if report is not None:
        pairs += [
            ("report: candidate", report.candidate_digest, row.digest),
            ("report: image", report.candidate_image, row.image),
            ("report: verdict", report.verdict, row.verdict),
        ]
        if trials_digest:
            pairs.append(("report: trials", report.trials_digest, trials_digest))
    if batch is not None:
        pairs.append(("batch: hash", batch.digest, proposal.batch_digest if proposal else batch.digest))
        if report is not None:
            pairs.append(("report: batch", report.batch_digest, batch.digest))
    return [f"{what} is {found}, not {wanted}" for what, found, wanted in pairs if found != wanted]


def _batch_digest(store: Store, row: CandidateRow) -> str:
    with store.read() as session:
        run = session.get(RunRow, row.run_id)
        return run.batch_digest if run else ""


def _hex(value: str) -> str:
    return value.rpartition(":")[2]
