"""The demo, from the first request to the last table. It uses what operators use; only the world around is simulated."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from evidence import queries
from evidence.draft import readiness
from evolve import agent, consent, evolution, runs
from evolve.arenas import open_arena
from evolve.candidate import Candidate
from evolve.cli.audit import verify_ledgers
from evolve.cli.consent import follow
from evolve.cli.evidence import run_intake
from evolve.cli.progress import Progress
from evolve.demo import judge
from evolve.demo.processes import model_server
from evolve.demo.report import (
    BatchPart,
    CandidatePart,
    DemoReport,
    DrillPart,
    LedgerPart,
    SwapPart,
    print_report,
)
from evolve.demo.setup import APPROVER, REQUESTER, DemoHome, prepare
from evolve.demo.traffic import Answer, Background, Request, Users, flag, visits
from evolve.product import Product
from evolve.sealing import seal_batch
from evolve.tables import CandidateRow, RunRow
from promote.records import SwapRecord

REQUESTS = 640
SEED = 7
FLAGGED_SHARE = 0.1
DRILLS = ("never_healthy", "bad_in_bake")
Confirm = Callable[[str], bool]


def play(home: Path, confirm: Confirm, show: bool) -> DemoReport:
    """Run the whole demo in `home`; nothing is left running. `confirm` is asked before each approval."""
    with model_server() as port:
        demo = prepare(home, port)
        with Product.open(home) as product, Progress() as progress:
            scene = Scene(product, demo, progress, confirm)
            try:
                scene.run()
            finally:
                agent.stop(product, REQUESTER, "the demo ends")
            scene.close_books()
        if show:
            print_report(scene.report, scene.failed)
        return scene.report


class Scene:
    """One performance. `run` is the script."""

    def __init__(self, product: Product, demo: DemoHome, progress: Progress, confirm: Confirm) -> None:
        self.product, self.demo, self.progress, self.confirm = product, demo, progress, confirm
        self.report = DemoReport(runtime=product.runtime.name)
        self.failed: dict[str, tuple[int, int]] = {}
        self.url = ""

    def run(self) -> None:
        started = agent.start(self.product, REQUESTER, "the demo begins", self.progress.line)
        self.url = str(started["url"])
        asked = visits(REQUESTS, SEED)
        answers = self._send(asked, "users")
        broken = judge.failures(answers, self.product.paths.calls)
        self._users_complain(broken)
        self._gather()
        for number, batch_id in enumerate(self._ready_batches(), 1):
            last = number == self._planned
            for kind in DRILLS if last else ():
                self._drill(batch_id, kind)
            self._mend(batch_id)
        self._send_again(asked, broken)

    def _send(self, sessions: Sequence[Sequence[Request]], what: str) -> list[Answer]:
        total = sum(map(len, sessions))
        answers = Users(self.url).send(
            sessions, lambda n: self.progress.line(f"{what}: {n} of {total} requests")
        )
        self._count(answers)
        self.progress.keep(f"{what}: {total} requests sent")
        return answers

    def _count(self, answers: Sequence[Answer]) -> None:
        self.report.requests.sent += len(answers)
        self.report.requests.lost += sum(answer.lost for answer in answers)

    def _users_complain(self, broken: dict[str, list[Answer]]) -> None:
        """Some of those who got a wrong answer say so, and nothing more."""
        wrong = [answer for answers in broken.values() for answer in answers if not answer.lost]
        self.report.requests.failed_before = len(wrong)
        some = random.Random(SEED).sample(wrong, int(len(wrong) * FLAGGED_SHARE))
        for answer in some:
            flag(self.url, answer.request_id, "This does not look right to me.")
        self.progress.keep(f"{len(wrong)} answers were wrong; {len(some)} users said so")

    def _gather(self) -> None:
        found = run_intake(self.product)
        self.progress.keep(f"{found.events} events read, {found.evidence} failures, {found.batches} groups")

    def _ready_batches(self) -> list[str]:
        policy = self.product.settings.batch.seal_policy
        open_batches = queries.list_batches(self.product.store, state="open")
        ready = [b for b in open_batches if readiness(self.product.store, b.id, policy).ready]
        ready.sort(key=lambda b: (-b.evidence, b.id))
        self._planned = len(ready)
        return [b.id for b in ready]

    def _is_sealed(self, batch_id: str) -> bool:
        """Against the image that is live: after a rollback it still is."""
        found = queries.get_batch(self.product.store, batch_id)
        if not found.sealed_digest:
            return False
        return evolution.load_sealed(self.product, batch_id).baseline_digest == self.product.live_image()

    def _seal(self, batch_id: str) -> None:
        with open_arena(self.product, self.product.manifest) as arena:
            sealed = seal_batch(
                self.product,
                arena,
                batch_id,
                who=REQUESTER,
                reason="enough failures of one kind",
                early=False,
                progress=self.progress.line,
            )
        sizes = f"{len(sealed.visible)} visible, {len(sealed.held_out)} held out, {len(sealed.regression)} regression"
        self.progress.keep(f"batch {batch_id} sealed: {sealed.title}: {sizes}")

    def _evolve(self, batch_id: str, coder: str) -> tuple[RunRow, CandidateRow | None]:
        if not self._is_sealed(batch_id):
            self._seal(batch_id)
        run_id = evolution.start_run(
            self.product,
            batch_id,
            requester=REQUESTER,
            reason="users get wrong answers",
            seed=SEED,
            options={"coder": coder},
        )
        evolution.work_on(self.product, run_id, lambda stage, text: self._listen(stage, text))
        with self.product.store.read() as session:
            run = runs.get_run(session, run_id)
            found = session.get(CandidateRow, run.candidate_id) if run.candidate_id else None
        return run, found

    def _listen(self, stage: str, text: str) -> None:
        (self.progress.keep if stage in ("baseline", "locate", "verdict") else self.progress.line)(text)

    def _mend(self, batch_id: str) -> None:
        """One batch: run, verdict, approval, swap under traffic, bake."""
        run, candidate = self._evolve(batch_id, "mend")
        self.report.batches.append(self._batch_part(batch_id, run, candidate))
        if run.verdict != "converged" or candidate is None:
            self.progress.keep(f"batch {batch_id}: {run.verdict}: {run.verdict_reason}")
            return
        record, _ = self._swap(candidate)
        if record is not None:
            self.report.swaps.append(SwapPart(state=record.state, held_ms=record.held_ms))

    def _drill(self, batch_id: str, kind: str) -> None:
        """A coder mends the defect and slips in a fault that no replay can show: production must notice."""
        run, candidate = self._evolve(batch_id, f"drill_{kind}")
        if run.verdict != "converged" or candidate is None:
            self.report.drills.append(DrillPart(kind=kind, state=f"not tried: {run.verdict}", lost=0))
            return
        record, lost = self._swap(candidate)
        state = record.state if record is not None else "declined"
        self.report.drills.append(DrillPart(kind=kind, state=state, lost=lost))

    def _swap(self, candidate: CandidateRow) -> tuple[SwapRecord | None, int]:
        """Ask a person, then swap while users go on asking."""
        if not self.confirm(f"Approve candidate {candidate.id}, image …{candidate.image[-8:]}?"):
            consent.decline(self.product, candidate.id, person=APPROVER, reason="declined in the demo")
            return None, 0
        consent.approve(
            self.product,
            candidate.id,
            person=APPROVER,
            passphrase=self.demo.passphrase,
            reason="the report shows a gain on failures that the coder never saw",
            confirm_digest=candidate.image[-8:],
        )
        with Background(self.url, seed=len(self.report.swaps) + 10 * len(self.report.drills)) as users:
            swap = consent.promote(self.product, candidate.id)
            record = follow(self.product, swap, quiet=False)
        self._count(users.answers)
        self.progress.keep(f"swap {record.state}: {len(users.answers)} requests meanwhile, {users.lost} lost")
        return record, users.lost

    def _batch_part(self, batch_id: str, run: RunRow, row: CandidateRow | None) -> BatchPart:
        sealed = evolution.load_sealed(self.product, batch_id)
        part = None
        if row is not None:
            candidate = Candidate.model_validate_json(self.product.store.blobs.get(row.candidate_blob))
            lines = candidate.lines_added + candidate.lines_removed
            part = CandidatePart(commit=row.commit, image=row.image, files=list(candidate.files), lines=lines)
        visible, held_out, regression = len(sealed.visible), len(sealed.held_out), len(sealed.regression)
        return BatchPart(
            id=batch_id,
            cases=visible + held_out + regression,
            visible=visible,
            held_out=held_out,
            regression=regression,
            verdict=run.verdict or run.state,
            trials=run.trials,
            candidate=part,
        )

    def _send_again(self, asked: Sequence[Sequence[Request]], broken: dict[str, list[Answer]]) -> None:
        """All failed ones again, in whole sessions under new names, and as many new ones."""
        wrong = {answer.request for answers in broken.values() for answer in answers}
        sessions = [visit for visit in asked if any(request in wrong for request in visit)]
        again = [[request.again() for request in visit] for visit in sessions]
        fresh = visits(len(wrong), SEED + 1)
        after = judge.failures(self._send([*again, *fresh], "users again"), self.product.paths.calls)
        self.report.requests.failed_after = sum(len(answers) for answers in after.values())
        names = sorted({*broken, *after})
        self.failed = {name: (len(broken.get(name, ())), len(after.get(name, ()))) for name in names}

    def close_books(self) -> None:
        """Nothing runs any more: is the record whole?"""
        found = verify_ledgers(self.product)
        entries = sum(result.entries for result in found.values())
        self.report.ledger = LedgerPart(entries=entries, valid=all(result.ok for result in found.values()))
