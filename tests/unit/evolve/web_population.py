"""A run with a whole population, stored as its stages store it: refused, worse, merged, tried, and one under way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import BaseModel
from web_world import DIFF, World

from evidence.canonical import canonical_json, digest, new_id, utcnow
from evolve.candidate import Candidate
from evolve.stages.models import (
    Asked,
    Baseline,
    Controls,
    Evaluated,
    Implemented,
    Mutation,
    Opinion,
    Plan,
    PlanAnswer,
    Review,
    Screened,
    Selected,
)
from evolve.tables import CandidateRow, RunRow, StageRow
from trial.progress import Progress
from trial.report import Check

CASES = tuple(f"case-visible-{n:03d}" for n in range(8))
WORKS = ("case-visible-100",)
CAUSE, MUTATION, OBJECTION = "results come as they finish", "sort by name instead", "this treats the symptom"
PROMPT = "# Task: a review of a change\nfind what is wrong"


@dataclass
class Told:
    """Writes stages one after the other."""

    world: World
    text: Callable[[str], str]
    run_id: str = field(default_factory=new_id)
    count: int = 0

    def put(self, text: str) -> str:
        return self.world.store.blobs.put(text.encode())

    def run(self, state: str, verdict: str | None) -> None:
        with self.world.store.write() as session:
            session.add(
                RunRow(
                    id=self.run_id,
                    batch_id=self.world.batch_id,
                    batch_digest="sha256:0",
                    state=state,
                    requester="olga",
                    reason=self.text("three users complained"),
                    coder="mend,codex",
                    seed=9,
                    options={"depth": "standard", "max_usd": 2.5},
                    verdict=verdict,
                    verdict_reason=self.text("too little gain") if verdict else "",
                    created=utcnow() - timedelta(minutes=9),
                    finished=None if state == "running" else utcnow(),
                )
            )

    def stage(
        self,
        where: tuple[int, int],
        name: str,
        output: BaseModel | None,
        *,
        round: int = 0,
        candidate: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Its cost is drawn from its number; run and stage are booked together."""
        self.count += 1
        cost = {
            "usd_micros": 100 * self.count,
            "tokens": 10 * self.count,
            "trials": self.count,
            "seconds": float(self.count),
        }
        begun = utcnow() - timedelta(minutes=8) + timedelta(seconds=3 * self.count)
        with self.world.store.write() as session:
            session.add(
                StageRow(
                    run_id=self.run_id,
                    iteration=where[0],
                    proposal=where[1],
                    round=round,
                    name=name,
                    state="done" if output else "started",
                    input_digest="sha256:0",
                    output_blob=self.world.store.blobs.put(canonical_json(output)) if output else None,
                    candidate_id=candidate,
                    progress=progress.model_dump() if progress else None,
                    started=begun,
                    finished=begun + timedelta(seconds=2) if output else None,
                    **cost,
                )
            )
            run = session.get_one(RunRow, self.run_id)
            for key, value in cost.items():
                setattr(run, key, getattr(run, key) + value)
            session.add(run)

    def asked(self, coder: str, prompt: str) -> Asked:
        return Asked(
            coder=coder,
            prompt_sha256="sha256:" + "7" * 64,
            prompt_blob=self.put(self.text(prompt)),
            tokens=10,
            usd_micros=10,
            transcript_blob=self.put("{}"),
        )

    def review(self, name: str, approve: bool) -> Review:
        mutation = Mutation(
            file=self.text("harness/dispatch.py"),
            change=self.text(MUTATION),
            slips=self.text("no visible case has two tools of one name"),
        )
        opinion = Opinion(
            against=(self.text("it waits for the slowest tool"),),
            mutation=mutation,
            approve=approve,
            required=() if approve else (self.text(OBJECTION),),
        )
        return Review(
            ok=approve,
            word="" if approve else "needs_work",
            reason="" if approve else self.text(f"codex refuses: {OBJECTION}"),
            checks=(Check(name="guard.paths", ok=True, reason=self.text("1 file")),),
            opinion=opinion,
            asked=self.asked("codex", f"{PROMPT} ({name})"),
        )

    def plan(self) -> Plan:
        answer = PlanAnswer(
            cause=self.text(CAUSE),
            files=(self.text("harness/dispatch.py"),),
            change=self.text("keep the order of the calls"),
            expected=self.text("each answer beside its question"),
            risks=self.text("none that would not be seen"),
        )
        return Plan(
            task=self.text("Mend it."),
            prompt_sha256="sha256:" + "8" * 64,
            suspects=(),
            cases=CASES,
            avoid=(),
            seed=9,
            answer=answer,
            asked=self.asked("codex", "# Task: a plan"),
        )

    def edit(self, coder: str) -> Implemented:
        return Implemented(
            commit="c" * 40,
            diff_sha256=digest(coder.encode()),
            diff_blob=self.put(DIFF.replace("at the same time", self.text("at the same time"))),
            coder=coder,
            outcome="edited",
            seconds=12.5,
            trials=3,
            tokens=100,
            usd_micros=100,
            reason=self.text("it said that it is done"),
            transcript_blob=self.put("{}"),
            prompt_blob=self.put(self.text("Mend it, word for word.")),
        )

    def candidate(
        self, where: tuple[int, int], coder: str, state: str, *parents: str, verdict: str = ""
    ) -> str:
        made = Candidate(
            id=new_id(),
            run_id=self.run_id,
            batch_digest="sha256:0",
            base_commit="1" * 40,
            base_image="sha256:" + "1" * 64,
            commit="c" * 40,
            image="sha256:" + "2" * 64,
            diff_sha256="sha256:" + "3" * 64,
            files=("harness/dispatch.py",),
            lines_added=5,
            lines_removed=7,
            coder=coder,
            seed=9,
            parents=parents,
        )
        with self.world.store.write() as session:
            session.add(
                CandidateRow(
                    id=made.id,
                    run_id=self.run_id,
                    batch_id=self.world.batch_id,
                    iteration=where[0],
                    proposal=where[1],
                    commit=made.commit,
                    image=made.image,
                    digest=made.digest,
                    diff_blob=self.put(DIFF),
                    candidate_blob=self.world.store.blobs.put(canonical_json(made)),
                    verdict=verdict or None,
                    state=state,
                )
            )
        return made.id

    def screen(self, mended: int, *lost: str) -> Screened:
        scores = {case: float(number < mended) for number, case in enumerate(CASES)}
        reasons = {
            case: self.text("result of call_2 was used for call_1") for case in (*CASES[mended:], *lost)
        }
        return Screened(scores=scores, lost=lost, reasons=reasons)


def add_population(
    world: World, *, text: Callable[[str], str] = lambda honest: honest, running: bool = False
) -> str:
    """Pass 1: 1.1 refused by its opponent, 1.2 mends half, 1.3 breaks something. Pass 2: 2.1 from 1.2, tried; a merge that
    git refuses. `running`: a third pass is under way, its leader on held-out cases."""
    told = Told(world, text)
    told.run("running" if running else "finished", None if running else "inconclusive")
    none = {case: text("a wrong answer") for case in CASES}
    told.stage((0, 0), "baseline", Baseline(failing=CASES, passing=WORKS, reasons=none))
    told.stage((0, 0), "controls", Controls(rerun={case: float(case == CASES[0]) for case in CASES}))
    for number in range(2):
        told.stage((1, 1), "plan", told.plan(), round=number)
        told.stage((1, 1), "plan_review", told.review("plan_review", number == 1), round=number)
    told.stage((1, 1), "implement", told.edit("codex"))
    told.stage((1, 1), "code_review", told.review("code_review", False))
    made = []
    for where, coder, mended, lost in (((1, 2), "mend", 4, ()), ((1, 3), "codex", 8, WORKS)):
        told.stage(where, "implement", told.edit(coder))
        told.stage(where, "code_review", told.review("code_review", True))
        made.append(told.candidate(where, coder, "refused" if lost else "built"))
        told.stage(where, "screen", told.screen(mended, *lost))
    told.stage((1, 0), "select", Selected(leader=None, order=(made[0],), scores={}, reason="none leads"))
    second = told.candidate((2, 1), "mend", "tried", made[0], verdict="inconclusive")
    told.stage((2, 1), "implement", told.edit("mend"))
    told.stage((2, 1), "screen", told.screen(8))
    empty = told.edit("merge").model_copy(
        update={"commit": None, "diff_blob": told.put(""), "prompt_blob": ""}
    )
    told.stage((2, 4), "combine", empty)
    twice = {second: {case: 0.5 if case == CASES[7] else 1.0 for case in CASES}}
    told.stage((2, 0), "select", Selected(leader=second, order=(second,), scores=twice, reason=""))
    progress = Progress(done=24, planned=88, split="held_out", e_value=7.6, e_needed=60.0)
    told.stage((2, 0), "trial", Controls(rerun={}), candidate=second, progress=progress)
    seen = Evaluated(
        word="inconclusive",
        reasons=(text("7.6 is less than 60"),),
        candidate_id=second,
        gained=CASES[:6],
        lost=("case-regression-001",),
    )
    told.stage((2, 0), "evaluate", seen, candidate=second)
    if running:
        leader = told.candidate((3, 1), "codex", "built", second, made[0])
        told.stage((3, 1), "implement", told.edit("codex"))
        told.stage((3, 1), "screen", told.screen(8))
        told.stage((3, 2), "plan", None)
        progress = Progress(done=10, planned=88, split="held_out", e_value=3.25, e_needed=60.0)
        told.stage((3, 0), "trial", None, candidate=leader, progress=progress)
    return told.run_id
