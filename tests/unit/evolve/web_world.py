"""A home with one evolution in it, written row by row: what the page has to tell about. Real keys, real
database."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import get_args

from evidence.canonical import canonical_json, digest, new_id, utcnow
from evidence.cases import (
    Cassette,
    HeldOutCase,
    RecordedTurn,
    RegressionCase,
    SealedBatch,
    Signal,
    VisibleCase,
)
from evidence.ledger import Ledger
from evidence.store import Store
from evidence.tables import BatchRow, CaseRow, ChangeRow, EvidenceRow
from evolve import worktree
from evolve.candidate import Candidate
from evolve.migrations import upgrade
from evolve.passwords import Cost, hash_password
from evolve.settings import Settings, load_settings
from evolve.signatures import Standing
from evolve.stages.models import Implemented, Located, Review, Suspect
from evolve.tables import CandidateRow, RunEventRow, RunRow, StageRow
from evolve.web.consent import Consent
from promote.keys import KeyRefused, create_person_key, unlock
from promote.records import EndState
from trial.report import Check, Grade, SplitCount, Trial, TrialReport
from trial.verdict import REQUIRED

PASSPHRASE = "correct horse battery"
Files = Mapping[str, str]
"""Name -> content."""
CHEAP = Cost(memory_kib=64, iterations=1, lanes=1)
PEOPLE = {
    "ada": ("operator", "approver"),
    "vera": ("viewer",),
    "olga": ("operator",),
    "alan": ("approver",),
    "adam": ("admin",),
}
BASE = "sha256:" + "b" * 56 + "0ba5e000"
IMAGE = "sha256:" + "c" * 56 + "5afe1234"

TITLE = "Answers mix up the results of tools that were called together"
ASKED = "What is the weather in Oslo, and what is 17 times 23?"
WRONG = "In Oslo it is 391, and 17 times 23 is 4 °C with light rain."
RIGHT = "In Oslo it is 4 °C with light rain, and 17 times 23 is 391."
REASON = "tool_trace: result of call_2 was used for call_1"
PROPOSING = ("plan", "plan_review", "implement", "code_review", "build")
EVENT = "trying 42 edits of harness/dispatch.py"
DIFF = """\
diff --git a/harness/dispatch.py b/harness/dispatch.py
index 3f1c2aa..9b0d1ce 100644
--- a/harness/dispatch.py
+++ b/harness/dispatch.py
@@ -41,9 +41,7 @@ async def run_calls(calls: list[ToolCall], tools: Tools) -> list[ToolResult]:
     \"\"\"Run the calls of one model turn at the same time.\"\"\"
     tasks = {asyncio.create_task(tools.call(call)): call for call in calls}
-    results = []
-    for finished in asyncio.as_completed(tasks):
-        results.append(await finished)
-    return [
-        ToolResult(call_id=call.id, content=result)
-        for call, result in zip(calls, results, strict=True)
-    ]
+    await asyncio.wait(tasks)
+    return [
+        ToolResult(call_id=call.id, content=task.result())
+        for task, call in tasks.items()
+    ]
"""


@dataclass
class Book:
    """Consent as the page sees it: remembers what it was asked, and marks the rows as the real one does."""

    home: Path
    store: Store
    approved: list[dict[str, str | None]] = field(default_factory=list)
    declined: list[dict[str, str]] = field(default_factory=list)
    rolled_back: list[dict[str, str]] = field(default_factory=list)

    def roll_back(self, *, person: str, reason: str, swap: str) -> str:
        self.rolled_back.append({"person": person, "reason": reason, "swap": swap})
        return "swap-1"

    def check_passphrase(self, person: str, passphrase: str) -> bool:
        try:
            unlock(self.home / "keys" / "people" / f"{person}.pem", passphrase)
        except KeyRefused:
            return False
        return True

    def approve(
        self,
        candidate_id: str,
        *,
        person: str,
        passphrase: str,
        reason: str,
        confirm_digest: str | None,
        accept_lossy: bool,
    ) -> Standing:
        self.approved.append(
            {
                "candidate": candidate_id,
                "person": person,
                "reason": reason,
                "digits": confirm_digest,
                "accept_lossy": accept_lossy,
            }
        )
        self._decide(candidate_id, "approved", person, reason, "sha256:" + "a" * 64)
        return Standing(approval="sha256:" + "a" * 64, signed=(person,))

    def decline(self, candidate_id: str, *, person: str, reason: str) -> None:
        self.declined.append({"candidate": candidate_id, "person": person, "reason": reason})
        self._decide(candidate_id, "declined", person, reason, None)

    @property
    def decisions(self) -> int:
        return len(self.approved) + len(self.declined)

    @property
    def consent(self) -> Consent:
        return Consent(self.approve, self.decline, self.check_passphrase, self.roll_back)

    def _decide(self, candidate_id: str, state: str, person: str, reason: str, approval: str | None) -> None:
        with self.store.write() as session:
            row = session.get_one(CandidateRow, candidate_id)
            row.state, row.decided_by, row.decided_reason, row.approval_digest = (
                state,
                person,
                reason,
                approval,
            )
            session.add(row)


@dataclass
class World:
    settings: Settings
    store: Store
    book: Book
    batch_id: str
    run_id: str
    candidate_id: str

    def close(self) -> None:
        self.store.close()


def make_home(home: Path, policy: str = "separate") -> Settings:
    """Folders, people with real keys, `evolve.toml`, an up-to-date database."""
    home.mkdir(parents=True, exist_ok=True)
    lines = ["[consent]", f'policy = "{policy}"']
    for person, roles in PEOPLE.items():
        public = create_person_key(home / "keys" / "people" / f"{person}.pem", PASSPHRASE)
        known = hash_password(PASSPHRASE, CHEAP)
        lines += [f"[consent.people.{person}]", f'public_key = "{public}"', f"roles = {list(roles)}"]
        lines += [f'sign_in = "{known}"']
    (home / "evolve.toml").write_text("\n".join(lines) + "\n")
    settings = load_settings(home)
    upgrade(settings.sql_url)
    return settings


def make_world(
    settings: Settings,
    *,
    text: Callable[[str], str] = lambda honest: honest,
    regression: int = 24,
    workflows: tuple[Files, Files] = ({}, {}),
) -> World:
    """`text` may turn every text that an agent, a model or a user wrote into something hostile. `workflows`: files of the
    library on `main`, and in the candidate."""
    store = Store(settings.sql_url, settings.home / "blobs")
    batch = _batch(text, regression)
    store.blobs.put(canonical_json(batch))
    run_id, candidate_id = new_id(), new_id()
    base_commit, commit = _repository(settings, *workflows)
    diff = DIFF.replace("at the same time", text("at the same time"))
    proposal = Candidate(
        id=candidate_id,
        run_id=run_id,
        batch_digest=batch.digest,
        base_commit=base_commit,
        base_image=BASE,
        commit=commit,
        image=IMAGE,
        diff_sha256=digest(diff.encode()),
        files=("harness/dispatch.py",),
        lines_added=5,
        lines_removed=7,
        coder="mend",
        seed=7,
    )
    trials = _trials(batch, text)
    report = _report(batch, proposal, trials)
    _write_evidence(store, batch, text)
    _write_run(store, batch, proposal, report, trials, diff, text)
    _write_ledgers(settings, candidate_id, text)
    return World(settings, store, Book(settings.home, store), batch.id, run_id, candidate_id)


def _repository(settings: Settings, shipped: Files, changed: Files) -> tuple[str, str]:
    """A substrate whose one hot file changed four times, and a candidate that newly opens sockets; base and
    candidate."""
    repository, tree = settings.substrate_repository, settings.home / "tree"
    (tree / "harness").mkdir(parents=True)
    (tree / "harness" / "tools.py").write_text("import json\n")
    _write_library(tree, shipped)
    commit = None
    for version in range(4):
        (tree / "harness" / "dispatch.py").write_text(f"import asyncio\n\nVERSION = {version}\n")
        if commit is None:
            commit = worktree.create_repository(repository, tree, "first")
        else:
            base, commit = commit, worktree.commit_directory(repository, tree, commit, "another")
            worktree.move_main(repository, commit, base)
    assert commit is not None
    (tree / "harness" / "dispatch.py").write_text("import asyncio, socket\n\nimport numpy\n\nVERSION = 4\n")
    _write_library(tree, changed)
    return commit, worktree.commit_directory(repository, tree, commit, "candidate")


def _write_library(tree: Path, files: Files) -> None:
    """These files and no others."""
    library = tree / "workflows" / "library"
    shutil.rmtree(library, ignore_errors=True)
    library.mkdir(parents=True)
    for name, text in files.items():
        (library / name).write_text(text)


def _case_fields(index: int, split: str, text: Callable[[str], str], failed: bool) -> dict[str, object]:
    asked = f"{ASKED} ({split} {index})"
    turn = RecordedTurn(
        request_id=f"req-{split}-{index}",
        session=text(f"session-{index % 5}"),
        path="/v1/chat/completions",
        body={"messages": [{"role": "user", "content": text(asked)}]},
        status=200,
        reply={"choices": [{"message": {"role": "assistant", "content": text(WRONG if failed else "391.")}}]},
        latency=0.12,
    )
    hello = turn.model_copy(
        update={
            "request_id": f"pre-{split}-{index}",
            "body": {"messages": [{"role": "user", "content": text("Please answer in metric units.")}]},
            "reply": {"choices": [{"message": {"role": "assistant", "content": text("Metric it is.")}}]},
        }
    )
    signal = Signal(kind="rule", name=text("results-match-calls"), reason=text(REASON))
    return {
        "id": f"case-{split}-{index:03d}",
        "evidence_id": f"ev-{split}-{index}",
        "fingerprint": "fp-mixed-results",
        "turn": turn,
        "prelude": (hello,) if failed else (),
        "cassette": Cassette(),
        "signals": (signal,) if failed else (),
        "on_model_miss": "live" if failed else "fail",
    }


def _batch(text: Callable[[str], str], regression: int) -> SealedBatch:
    return SealedBatch(
        id=new_id(),
        fingerprint="fp-mixed-results",
        title=text(TITLE),
        substrate="harness",
        baseline_digest=BASE,
        baseline_commit="1" * 40,
        visible=tuple(VisibleCase.model_validate(_case_fields(i, "visible", text, True)) for i in range(8)),
        held_out=tuple(
            HeldOutCase.model_validate(_case_fields(i, "held_out", text, True)) for i in range(12)
        ),
        regression=tuple(
            RegressionCase.model_validate(_case_fields(i, "regression", text, False))
            for i in range(regression)
        ),
        graders_digest="sha256:" + "9" * 64,
        sealed_at=utcnow().isoformat(),
        sealed_by="olga",
        cannot_show=(
            f"{regression} regression cases were on offer: a loss below 3 points can't be ruled out.",
        ),
    )


def _trials(batch: SealedBatch, text: Callable[[str], str]) -> list[Trial]:
    trials = []
    for case in (*batch.held_out, *batch.visible, *batch.regression):
        worked = case.split == "regression"
        for arm, image, passed in (
            ("baseline", BASE, worked),
            ("candidate", IMAGE, case.id != "case-held_out-011"),
        ):
            grade = Grade(grader="requirements", score=float(passed), passed=passed)
            trials.append(
                Trial(
                    case_id=case.id,
                    split=case.split,
                    arm=arm,
                    digest=image,
                    outcome="pass" if passed else "fail",
                    grades=(grade,),
                    latency=0.2,
                    seed=7,
                    reason="" if passed else text(REASON),
                    reply=text(RIGHT if passed else WRONG),
                )
            )
    return trials


def _report(batch: SealedBatch, proposal: Candidate, trials: list[Trial]) -> TrialReport:
    def count(arm: str, split: str) -> SplitCount:
        mine = [t for t in trials if t.arm == arm and t.split == split]
        passed = sum(t.outcome == "pass" for t in mine)
        return SplitCount(cases=len(mine), passed=passed, failed=len(mine) - passed, invalid=0)

    splits = ("held_out", "visible", "regression")
    path = (1.6, 2.5, 3.9, 5.8, 8.4, 12.0, 17.1, 24.3, 34.0, 47.0, 63.0, 55.2)
    return TrialReport(
        id=new_id(),
        batch_digest=batch.digest,
        candidate_digest=proposal.digest,
        baseline_image=BASE,
        candidate_image=IMAGE,
        verdict="converged",
        reasons=(
            "11 of 12 held-out failures are answered right, none before",
            "No regression case got worse",
        ),
        checks=(
            Check(name="guard.paths", ok=True, reason="1 file, editable"),
            Check(name="graders.untouched", ok=True, reason=""),
            Check(name="honeypot", ok=True, reason="0 of 4 passed"),
            *(Check(name=name, ok=True, reason="") for name in REQUIRED if name != "honeypot"),
        ),
        e_value=55.2,
        e_threshold=20.0,
        e_path=path,
        held_out_pairs=12,
        margin_points=12.5,
        regression_upper_points=11.7,
        baseline={split: count("baseline", split) for split in splits},
        candidate={split: count("candidate", split) for split in splits},
        trials_planned=2 * 60,
        trials_run=len(trials),
        trials_saved=2 * 60 - len(trials),
        seed=7,
        trials_digest=digest([t.model_dump(mode="json") for t in trials]),
        cannot_show=(),
    )


def _write_evidence(store: Store, batch: SealedBatch, text: Callable[[str], str]) -> None:
    now = utcnow().isoformat()
    with store.write() as session:
        session.add(
            BatchRow(
                id=batch.id,
                fingerprint=batch.fingerprint,
                title=batch.title,
                state="ready",
                reason=text("a run converged"),
                sealed_digest=batch.digest,
                at=now,
                changed=now,
            )
        )
        session.add(
            BatchRow(
                id=new_id(),
                fingerprint="fp-leak",
                title=text("A setting of one session shows in another"),
                state="open",
                at=now,
                changed=now,
            )
        )
        for case in (*batch.visible, *batch.held_out):
            signals = [signal.model_dump(mode="json") for signal in case.signals]
            session.add(
                EvidenceRow(
                    id=case.evidence_id,
                    request_id=case.turn.request_id,
                    fingerprint=case.fingerprint,
                    title=batch.title,
                    signals=signals,
                    session=case.turn.session,
                    principal="user-1",
                    batch_id=batch.id,
                    ts=1.0,
                    at=now,
                )
            )
        for case in (*batch.visible, *batch.held_out, *batch.regression):
            role = "regression" if case.split == "regression" else "failure"
            session.add(
                CaseRow(
                    id=case.id,
                    batch_id=batch.id,
                    request_id=case.turn.request_id,
                    role=role,
                    state="confirmed",
                    split=case.split,
                    at=now,
                )
            )
        for kind, who in (("batch.opened", "evidence"), ("batch.sealed", "olga"), ("batch.ready", "evolve")):
            session.add(
                ChangeRow(
                    id=new_id(), subject=batch.id, kind=kind, data={}, who=who, reason=text("because"), at=now
                )
            )


def _write_run(
    store: Store,
    batch: SealedBatch,
    proposal: Candidate,
    report: TrialReport,
    trials: list[Trial],
    diff: str,
    text: Callable[[str], str],
) -> None:
    put = store.blobs.put
    diff_blob = put(diff.encode())
    located = Located(
        suspects=tuple(
            Suspect(file="harness/dispatch.py", line=44 + i, score=round(1 - i * 0.13, 2)) for i in range(6)
        ),
        failing_replays=8,
        passing_replays=24,
    )
    done = Implemented(
        commit=proposal.commit,
        diff_sha256=proposal.diff_sha256,
        diff_blob=diff_blob,
        coder="mend",
        outcome="changed",
        seconds=21.4,
        trials=96,
        tokens=0,
        usd_micros=0,
        transcript_blob=put(b"{}"),
    )
    review = Review(ok=True, checks=(Check(name="review.new_diff", ok=True, reason=""),))
    outputs = {
        (0, "baseline"): None,
        (0, "locate"): located,
        (1, "plan"): None,
        (1, "plan_review"): None,
        (1, "implement"): done,
        (1, "code_review"): review,
        (1, "build"): None,
        (1, "trial"): None,
        (1, "evaluate"): None,
        (1, "verdict"): None,
    }
    started = utcnow() - timedelta(minutes=3)
    with store.write() as session:
        session.add(
            RunRow(
                id=proposal.run_id,
                batch_id=batch.id,
                batch_digest=batch.digest,
                state="finished",
                requester="olga",
                reason=text("three users complained"),
                coder="mend",
                seed=7,
                verdict="converged",
                verdict_reason=text("; ".join(report.reasons)),
                candidate_id=proposal.id,
                usd_micros=12_400,
                tokens=18_200,
                trials=len(trials) + 96,
                seconds=94.0,
                created=started,
                finished=utcnow(),
            )
        )
        session.flush()
        for index, ((iteration, name), output) in enumerate(outputs.items()):
            begun = started + timedelta(seconds=index * 8)
            session.add(
                StageRow(
                    run_id=proposal.run_id,
                    iteration=iteration,
                    name=name,
                    proposal=int(name in PROPOSING),
                    seconds=7.5,
                    state="done",
                    input_digest="sha256:0",
                    output_blob=put(canonical_json(output)) if output else None,
                    trials=16 if name == "trial" else 0,
                    started=begun,
                    finished=begun + timedelta(seconds=7.5),
                )
            )
            session.add(
                RunEventRow(run_id=proposal.run_id, stage=name, text=text(f"{name}: {EVENT}"), at=begun)
            )
        session.add(
            CandidateRow(
                id=proposal.id,
                run_id=proposal.run_id,
                batch_id=batch.id,
                iteration=1,
                proposal=1,
                commit=proposal.commit,
                image=proposal.image,
                digest=proposal.digest,
                diff_blob=diff_blob,
                candidate_blob=put(canonical_json(proposal)),
                report_blob=put(canonical_json(report)),
                trials_blob=put(canonical_json([t.model_dump(mode="json") for t in trials])),
                verdict="converged",
                state="ready",
            )
        )


def _write_ledgers(settings: Settings, candidate_id: str, text: Callable[[str], str]) -> None:
    with Ledger(settings.home / "ledger.db") as ledger:
        ledger.append("batch.sealed", {"candidate": candidate_id}, who="olga", reason=text("enough cases"))
    with Ledger(settings.home / "promote" / "ledger.db") as ledger:
        for state in ("accepted", "preflight", "hold", "drain", "fence", "clone", "start", "probe"):
            for phase in ("intent", "done"):
                ledger.append("swap", {"swap": "swap-1", "state": state, "phase": phase, "boot_id": "b"})
        ledger.append(
            "swap",
            {
                "swap": "swap-1",
                "state": "rolled_back",
                "held_ms": 812.5,
                "reason": text("probe 2 of 3 failed"),
            },
            reason=text("probe 2 of 3 failed"),
        )


def add_swap(world: World, swap_id: str, *states: str) -> None:
    """One more swap in the promoter's ledger, or more steps of one; each step is done, ends have no second row."""
    with Ledger(world.settings.home / "promote" / "ledger.db") as ledger:
        for state in states:
            phases = ("done",) if state in get_args(EndState) else ("intent", "done")
            for phase in phases:
                ledger.append("swap", {"swap": swap_id, "state": state, "phase": phase, "boot_id": "b"})


def add_running_run(world: World) -> str:
    """A second run that is under way, for what is live."""
    run_id = new_id()
    with world.store.write() as session:
        session.add(
            RunRow(
                id=run_id,
                batch_id=world.batch_id,
                batch_digest="sha256:0",
                state="running",
                requester="olga",
                reason="once more",
                coder="mend",
                seed=8,
                seconds=40.0,
                trials=41,
                usd_micros=900,
                tokens=1200,
                created=utcnow() - timedelta(seconds=40),
            )
        )
        session.flush()
        session.add(
            StageRow(
                run_id=run_id,
                iteration=0,
                name="baseline",
                state="done",
                input_digest="x",
                started=utcnow() - timedelta(seconds=30),
                finished=utcnow() - timedelta(seconds=22),
            )
        )
        session.add(
            StageRow(
                run_id=run_id,
                iteration=0,
                name="locate",
                state="started",
                input_digest="x",
                started=utcnow() - timedelta(seconds=22),
            )
        )
        session.add(
            RunEventRow(run_id=run_id, stage="locate", text="tracing 8 failing and 24 passing replays")
        )
    return run_id
