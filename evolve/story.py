"""A candidate's story, gathered for the person who decides: what failed, where, what changed, what it proved,
what it cost.

Everything is read from stored bytes whose hashes are checked on the way, against each other too: `problems`
names what does not fit, and a story with problems is no ground for a signature. Held-out inputs appear here
because people read this; nothing that a proposer can reach may call this module.
"""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlmodel import col, select

from evidence.blobs import BlobError, BlobStore
from evidence.canonical import digest
from evidence.cases import AnyCase, RecordedTurn, SealedBatch, Signal
from evidence.store import Store
from evolve.candidate import Candidate
from evolve.distrust import what_to_distrust
from evolve.settings import Settings
from evolve.signatures import Standing, standing
from evolve.stages.models import Implemented, Located, Review, Suspect
from evolve.substrate_facts import SubstrateFacts, substrate_facts
from evolve.tables import CandidateRow, RunRow, StageRow
from evolve.views import CandidateSummary, Record, RunSummary, get_candidate, get_run
from trial.report import Arm, Check, Outcome, Split, Trial, TrialReport

Model = TypeVar("Model", bound=BaseModel)
Change = Literal["fixed", "broken", "still failing", "still passing", "undecided", "not replayed"]
SPLITS: tuple[Split, ...] = ("held_out", "visible", "regression", "honeypot")


class Line(Record):
    """One thing that was said. `role` as recorded: user, assistant, tool, system, or `request` and `reply`
    for other shapes."""

    role: str
    text: str


class Turn(Record):
    request_id: str
    session: str
    status: int | None
    lines: tuple[Line, ...]
    prelude: bool


class Failure(Record):
    """One visible case as it happened: the turns that led to it, the turn that failed, and why it counts as
    failed."""

    case_id: str
    signals: tuple[Signal, ...]
    turns: tuple[Turn, ...]


class TrialStory(Record):
    """One replay, as its reader sees it."""

    arm: Arm
    outcome: Outcome
    seconds: float
    reason: str
    reply: str


class CaseStory(Record):
    """One case before and after. Reasons are the graders' or the arena's own."""

    id: str
    split: Split
    asked: str
    prelude_turns: int
    before: Outcome | None
    before_reason: str
    after: Outcome | None
    after_reason: str
    trials: tuple[TrialStory, ...]
    flags: tuple[str, ...]
    change: Change


class SplitStory(Record):
    split: Split
    cases: tuple[CaseStory, ...]
    passed_before: int
    passed_after: int

    def changed(self, change: Change) -> int:
        return sum(case.change == change for case in self.cases)


class Story(Record):
    candidate: CandidateSummary
    run: RunSummary
    proposal: Candidate | None
    report: TrialReport | None
    coder: Implemented | None
    batch_title: str
    failure: Failure | None
    suspects: tuple[Suspect, ...]
    diff: str
    splits: tuple[SplitStory, ...]
    review: tuple[Check, ...]
    """What the deterministic code review asked, before any trial."""
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
    run = get_run(store.read, summary.run_id, max_events=0).run
    with store.read() as session:
        row = session.get_one(CandidateRow, candidate_id)
        batch_digest = _batch_digest(store, row)
        stages = {
            (stage.iteration, stage.proposal, stage.name): stage.output_blob
            for stage in session.exec(
                select(StageRow).where(StageRow.run_id == row.run_id).order_by(col(StageRow.round))
            )
            if stage.state == "done" and stage.output_blob
        }
    shelf = _Shelf(store.blobs)
    proposal = shelf.model("candidate", row.candidate_blob, Candidate)
    report = shelf.model("report", row.report_blob, TrialReport)
    batch = shelf.batch(proposal.batch_digest if proposal else batch_digest)
    trials, trials_digest = shelf.trials(row.trials_blob)
    located = shelf.model("locate", stages.get((0, 0, "locate")), Located)
    review = shelf.model("code_review", stages.get((row.iteration, row.proposal, "code_review")), Review)
    diff = shelf.data("diff", row.diff_blob)
    splits = _splits(batch, trials)
    problems = [*shelf.problems, *_misfits(row, proposal, report, batch, diff, trials_digest)]
    cases = tuple(case for split in splits for case in split.cases)
    facts = substrate_facts(settings.substrate_repository, proposal)
    return Story(
        candidate=summary,
        run=run,
        proposal=proposal,
        report=report,
        coder=shelf.model("implement", stages.get((row.iteration, row.proposal, "implement")), Implemented),
        batch_title=batch.title if batch else "",
        failure=_failure(batch),
        suspects=located.suspects if located else (),
        diff=diff.decode("utf-8", "replace"),
        splits=splits,
        review=review.checks if review else (),
        facts=facts,
        distrust=what_to_distrust(settings, run, proposal, report, batch, cases, facts),
        consent=standing(settings, row.approval_digest, proposal),
        problems=tuple(problems),
    )


class _Shelf:
    """Reads blobs by digest and remembers what could not be read."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.problems: list[str] = []

    def data(self, what: str, blob: str | None) -> bytes:
        if not blob:
            return b""
        try:
            return self._blobs.get(blob)
        except (BlobError, OSError) as error:
            self.problems.append(f"{what}: {error}")
            return b""

    def model(self, what: str, blob: str | None, shape: type[Model]) -> Model | None:
        data = self.data(what, blob)
        if not data:
            return None
        try:
            return shape.model_validate_json(data)
        except ValidationError as error:
            self.problems.append(f"{what}: not what this version stores ({error.error_count()} fields)")
            return None

    def trials(self, blob: str | None) -> tuple[tuple[Trial, ...], str]:
        """With their hash, which is over what was stored: a field that came later is not in it."""
        data = self.data("trials", blob)
        if not data:
            return (), ""
        try:
            return tuple(_TRIALS.validate_json(data)), digest(json.loads(data))
        except ValidationError as error:
            self.problems.append(f"trials: not what this version stores ({error.error_count()} fields)")
            return (), ""

    def batch(self, batch_digest: str) -> SealedBatch | None:
        if not batch_digest:
            return None
        try:
            return _sealed(str(self._blobs.root), batch_digest)
        except (BlobError, OSError) as error:
            self.problems.append(f"batch: {error}")
        except ValidationError as error:
            self.problems.append(f"batch: not what this version stores ({error.error_count()} fields)")
        return None


_TRIALS = TypeAdapter(list[Trial])


@lru_cache(maxsize=4)
def _sealed(root: str, batch_digest: str) -> SealedBatch:
    """Sealed batches are large and never change: the few that are looked at stay in memory."""
    return SealedBatch.model_validate_json(BlobStore(Path(root)).get(batch_digest))


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


def _failure(batch: SealedBatch | None) -> Failure | None:
    """The visible case with the shortest way to the failure: the one that reads best."""
    if batch is None or not batch.visible:
        return None
    case = min(batch.visible, key=lambda c: (not c.signals, len(c.prelude), len(json.dumps(c.turn.body))))
    turns = [_turn(turn, prelude=True) for turn in case.prelude] + [_turn(case.turn, prelude=False)]
    return Failure(case_id=case.id, signals=case.signals, turns=tuple(turns))


def _turn(turn: RecordedTurn, *, prelude: bool) -> Turn:
    lines = [*_request_lines(turn.body), *_reply_lines(turn.reply)]
    return Turn(
        request_id=turn.request_id,
        session=turn.session,
        status=turn.status,
        lines=tuple(line for line in lines if line.text),
        prelude=prelude,
    )


def _request_lines(body: dict[str, object]) -> list[Line]:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return [Line(role="request", text=_pretty(body))]
    return [_message(message) for message in messages]


def _message(message: object) -> Line:
    if not isinstance(message, dict):
        return Line(role="request", text=_pretty(message))
    content = message.get("content")
    text = content if isinstance(content, str) else _pretty(content) if content is not None else ""
    if calls := message.get("tool_calls"):
        text = f"{text}\n{_pretty(calls)}".strip()
    return Line(role=str(message.get("role") or "message"), text=text)


def _reply_lines(reply: object) -> list[Line]:
    if reply is None:
        return [Line(role="reply", text="(none was seen)")]
    if isinstance(reply, list):
        streamed = "".join(_delta(frame) for frame in reply)
        return [Line(role="assistant", text=streamed or _pretty(reply))]
    if isinstance(reply, dict) and isinstance(choices := reply.get("choices"), list) and choices:
        first = choices[0]
        if isinstance(first, dict) and isinstance(first.get("message"), dict):
            return [_message(first["message"])]
    return [Line(role="reply", text=_pretty(reply))]


def _delta(frame: object) -> str:
    if not isinstance(frame, dict) or not isinstance(choices := frame.get("choices"), list) or not choices:
        return ""
    delta = choices[0].get("delta") if isinstance(choices[0], dict) else None
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""


def _pretty(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)


def _splits(batch: SealedBatch | None, trials: Iterable[Trial]) -> tuple[SplitStory, ...]:
    known: dict[str, AnyCase] = {}
    if batch is not None:
        every: list[AnyCase] = [*batch.held_out, *batch.visible, *batch.regression]
        known = {case.id: case for case in every}
    found: dict[tuple[Split, str], list[Trial]] = {}
    for case in known.values():
        found[case.split, case.id] = []
    for trial in trials:
        found.setdefault((trial.split, trial.case_id), []).append(trial)
    stories = []
    for split in SPLITS:
        cases = [_case(s, case_id, known.get(case_id), t) for (s, case_id), t in found.items() if s == split]
        if cases:
            stories.append(
                SplitStory(
                    split=split,
                    cases=tuple(sorted(cases, key=lambda case: (_ORDER[case.change], case.id))),
                    passed_before=sum(case.before == "pass" for case in cases),
                    passed_after=sum(case.after == "pass" for case in cases),
                )
            )
    return tuple(stories)


_ORDER: dict[Change, int] = {
    "broken": 0,
    "still failing": 1,
    "undecided": 2,
    "fixed": 3,
    "still passing": 4,
    "not replayed": 5,
}
"""What a reviewer should see first."""


def _case(split: Split, case_id: str, case: AnyCase | None, trials: Sequence[Trial]) -> CaseStory:
    before, after = (_last([t for t in trials if t.arm == arm]) for arm in ("baseline", "candidate"))
    return CaseStory(
        id=case_id,
        split=split,
        asked=_asked(case.turn) if case else "",
        prelude_turns=len(case.prelude) if case else 0,
        before=before.outcome if before else None,
        before_reason=before.reason if before else "",
        after=after.outcome if after else None,
        after_reason=after.reason if after else "",
        trials=tuple(
            TrialStory(arm=t.arm, outcome=t.outcome, seconds=t.latency, reason=t.reason, reply=t.reply)
            for t in trials
        ),
        flags=tuple(flag for trial in trials if trial.arm == "candidate" for flag in trial.flags),
        change=_change(before, after),
    )


def _last(trials: Sequence[Trial]) -> Trial | None:
    """The replay that counted: the last one whose arena held, else the last one."""
    held = [trial for trial in trials if trial.outcome != "invalid"]
    found = held or list(trials)
    return found[-1] if found else None


def _change(before: Trial | None, after: Trial | None) -> Change:
    if before is None and after is None:
        return "not replayed"
    words: dict[tuple[str, str], Change] = {
        ("fail", "pass"): "fixed",
        ("pass", "fail"): "broken",
        ("fail", "fail"): "still failing",
        ("pass", "pass"): "still passing",
    }
    return words.get((before.outcome if before else "", after.outcome if after else ""), "undecided")


def _asked(turn: RecordedTurn) -> str:
    """The last thing that the user said, else the whole request."""
    lines = _request_lines(turn.body)
    said = [line.text for line in lines if line.role == "user" and line.text]
    return said[-1] if said else " ".join(line.text for line in lines)
