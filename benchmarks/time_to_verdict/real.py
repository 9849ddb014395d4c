"""One run of the product on the tiny substrate, and then every candidate of it on every case in the same sandboxes."""

import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
from numpy.typing import NDArray
from sqlmodel import col, select

from benchmarks.measure import Result, say
from benchmarks.stopping import DEFECT, FIX, HARM, Patch
from benchmarks.time_to_verdict import exhaustive, ours
from benchmarks.time_to_verdict.scenarios import NO_OP, Decision, Draw, Scenario
from containers.shim.files import wipe
from evidence import queries
from evidence.cases import SealedBatch
from evolve import agent, evolution, runs
from evolve.arenas import open_arena
from evolve.cli.evidence import run_intake
from evolve.home import create_home
from evolve.product import Product
from evolve.sealing import seal_batch
from evolve.settings import FILE_NAME
from evolve.substrates import export_tiny
from evolve.tables import CandidateRow, RunRow, StageRow
from trial.graders import GraderSet
from trial.plan import Job, TrialCase

WHO, WHY = "benchmark", "a measured run"
SEED = 7
REPLAYING = ("baseline", "controls", "screen", "select", "trial")
"""Stages that replay to decide. Locating, editing and building are the same whoever decides."""
CODERS: dict[str, Sequence[Patch]] = {
    "fix": (FIX,),
    "harm": (FIX, HARM),
    "other": (('"""', '"""No change. '),),
}

RULE = """
WANTED = {
    "largest": lambda text: str(max(int(word) for word in text.split())),
    "upper": str.upper,
    "add": lambda text: str(sum(int(word) for word in text.split())),
}


def skills(turn):
    name, _, rest = turn["request"]["messages"][-1]["content"].partition(" ")
    wanted, got = WANTED[name](rest), turn["reply"]["choices"][0]["message"]["content"]
    return None if got == wanted else f"wanted {wanted}, not {got}"
"""
SETTINGS = """
[edge]
port = 0

[web]
port = 0

[batch]
min_visible = {visible}
max_visible = {visible}
min_held_out = {held_out}
max_held_out = {held_out}
min_regression = {regression}
max_regression = {regression}

[run]
coder = "{coders}"
candidates = 3
iterations = 1

[swap]
disk_reserve_bytes = 0

[[rules]]
name = "skills"
file = "rules.py"
function = "skills"

[[graders]]
name = "skills"
kind = "rule"
file = "rules.py"
function = "skills"
"""


def lay_out(tree: Path) -> None:
    export_tiny(tree)
    turns = tree / "service" / "turns.py"
    text = turns.read_text(encoding="utf-8")
    if DEFECT[0] not in text:
        raise SystemExit(f"{turns}: {DEFECT[0]!r} is gone")
    turns.write_text(text.replace(*DEFECT), encoding="utf-8")


def coder(name: str, patches: Sequence[Patch]) -> str:
    """An external command that makes these edits; `sed` replaces the first match only."""
    edits = " ".join(f"-e {shlex.quote(f'0,/{old}/s//{new}/')}" for old, new in patches)
    return f"\n[coders.{name}]\nargv = ['/bin/sh', '-c', '''sed -i {edits} $1/service/turns.py''', 'c', '{{repo}}']\n"


@contextmanager
def home_of(cases: tuple[int, int, int]) -> Iterator[Product]:
    """An installation of its own; nothing of it is left running or lying about."""
    with tempfile.TemporaryDirectory(prefix="bt-") as folder:
        home = Path(folder) / "home"
        create_home(home, lay_out, "separate")
        visible, held_out, regression = cases
        settings = SETTINGS.format(
            visible=visible, held_out=held_out, regression=regression, coders=",".join(CODERS)
        )
        coders = "".join(coder(name, patches) for name, patches in CODERS.items())
        (home / FILE_NAME).write_text(settings + coders, encoding="utf-8")
        (home / "rules.py").write_text(RULE, encoding="utf-8")
        try:
            with Product.open(home) as product:
                yield product
        finally:
            wipe(str(home))  # images in it are read-only


def seal(product: Product, cases: tuple[int, int, int]) -> str:
    """Users ask, the failures are gathered and sealed. Returns the batch's id."""
    visible, held_out, regression = cases
    broken = [f"largest {i} {i + 7} {i + 3}" for i in range(visible + held_out)]
    worked = [f"upper word{i}" if i % 2 else f"add {i} {i + 1}" for i in range(regression)]
    try:
        url = str(agent.start(product, WHO, WHY, say)["url"])
        with httpx2.Client(base_url=url, timeout=70) as http:
            for number, text in enumerate((*broken, *worked)):
                http.post(
                    "/v1/chat/completions",
                    json={"messages": [{"role": "user", "content": text}]},
                    headers={"x-request-id": f"q{number}", "x-session": f"s{number}"},
                ).raise_for_status()
        run_intake(product)
        [batch] = queries.list_batches(product.store, state="open")
        with open_arena(product, product.manifest) as arena:
            seal_batch(product, arena, batch.id, who=WHO, reason=WHY, early=False, progress=say)
    finally:
        agent.stop(product, WHO, WHY)
    return batch.id


def product_run(product: Product, batch_id: str) -> tuple[RunRow, list[StageRow], list[CandidateRow]]:
    run_id = evolution.start_run(product, batch_id, requester=WHO, reason=WHY, seed=SEED, options={})
    evolution.work_on(product, run_id, lambda stage, text: say(f"time_to_verdict: {stage}: {text}"))
    with product.store.read() as session:
        stages = session.exec(select(StageRow).where(StageRow.run_id == run_id)).all()
        found = session.exec(
            select(CandidateRow).where(CandidateRow.run_id == run_id).order_by(col(CandidateRow.proposal))
        ).all()
        return runs.get_run(session, run_id), list(stages), list(found)


def replay_all(
    product: Product, batch: SealedBatch, images: Sequence[str]
) -> tuple[NDArray[np.bool_], float]:
    """Does each image pass each case (visible, held-out, regression)? And the seconds that it took."""
    cases: tuple[TrialCase, ...] = (*batch.visible, *batch.held_out, *batch.regression)
    baseline, *candidates = images
    jobs = [Job(case, "baseline", baseline, SEED) for case in cases]
    jobs += [Job(case, "candidate", image, SEED) for image in candidates for case in cases]
    began = time.monotonic()
    with open_arena(product, product.manifest) as arena:
        outcomes = [trial.outcome for trial in arena.run(jobs, product.graders.grade)]
    seconds = time.monotonic() - began
    if "invalid" in outcomes:
        raise SystemExit(f"the arena broke in {outcomes.count('invalid')} of {len(jobs)} replays")
    return np.array(outcomes).reshape(len(images), len(cases)) == "pass", seconds


def measure(small: bool) -> Result:
    cases = (2, 9, 30) if small else (8, 12, 100)
    with home_of(cases) as product:
        batch_id = seal(product, cases)
        run, stages, candidates = product_run(product, batch_id)
        batch = evolution.load_sealed(product, batch_id)
        images = [batch.baseline_digest, *(row.image for row in candidates)]
        say(f"time_to_verdict: replaying {len(images)} images on {sum(cases)} cases")
        passed, seconds = replay_all(product, batch, images)
    scenario = Scenario("real", ((NO_OP,) * len(candidates),), cases)
    level = exhaustive.Level(1.0, cases[1])
    peer = exhaustive.decide(exhaustive.count(passed, cases), scenario, level)
    replaying = [stage for stage in stages if stage.name in REPLAYING]
    spent = sum(map(_seconds, replaying))
    found = Decision(
        next((n for n, row in enumerate(candidates, 1) if row.state == "ready"), None),
        len(candidates),
        sum(stage.trials for stage in replaying),
        gain_shown=run.verdict == "converged",
    )
    if found != (told := simulate(scenario, passed)):
        raise SystemExit(f"the run: {run.verdict}, {found}; the simulation of it: {told}")
    if found.accepted is None or found.accepted != peer.accepted:
        raise SystemExit(f"the run: {run.verdict}, {found}; exhaustive replay: {peer}")
    same = run.seconds - spent
    return {
        "cases": list(cases),
        "candidates": len(candidates),
        "ours": {
            "replays": found.replays,
            "replaying_seconds": round(spent, 1),
            "run_seconds": round(run.seconds, 1),
        },
        "exhaustive": {
            "replays": peer.replays,
            "replaying_seconds": round(seconds, 1),
            "run_seconds": round(same + seconds, 1),
        },
        "replays_ratio": round(found.replays / peer.replays, 3),
        "replaying_seconds_ratio": round(spent / seconds, 3),
        "run_seconds_ratio": round(run.seconds / (same + seconds), 3),
    }


def simulate(scenario: Scenario, passed: NDArray[np.bool_]) -> Decision:
    """What the simulation makes of the outcomes that were measured. None of them is luck."""
    draw = Draw(passed.astype(float), passed, scenario.passes, np.random.default_rng(SEED))
    with GraderSet([], Path(), None) as graders:
        return ours.decide(ours.sealed(scenario, graders), ours.candidates(scenario), graders, scenario, draw)


def _seconds(stage: StageRow) -> float:
    if stage.finished is None:
        raise SystemExit(f"the stage {stage.name} did not end")
    return (stage.finished - stage.started).total_seconds()
