"""One variant from its planting to its verdict, with what an operator would use."""

import ast
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlmodel import select

from benchmarks.mend_variants import Variant
from benchmarks.mend_variants.home import MODEL, REQUIREMENTS, lay_out, prepare_home
from benchmarks.mend_variants.traffic import all_visits
from evidence import queries
from evidence.draft import readiness
from evolve import agent, evolution, runs, worktree
from evolve.arenas import open_arena
from evolve.cli.evidence import run_intake
from evolve.demo import judge
from evolve.demo.play import FLAGGED_SHARE
from evolve.demo.processes import model_server
from evolve.demo.setup import REQUESTER
from evolve.demo.traffic import Answer, Users, flag
from evolve.errors import Refused
from evolve.product import Product
from evolve.sealing import policy_of, seal_batch
from evolve.tables import CandidateRow, RunRow

Progress = Callable[[str], None]


@dataclass
class Result:
    """What became of one variant. `verdict` is the run's, or why there was none."""

    name: str
    sent: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """Wrong answers by requirement, before any repair."""
    batch: str = ""
    visible: int = 0
    held_out: int = 0
    regression: int = 0
    verdict: str = ""
    reason: str = ""
    failed_after: dict[str, int] | None = None
    """The same requests again, to the candidate: the gate judges by its cases, this by all of the traffic."""
    repaired: bool = False
    """The gate said so, and nothing fails afterwards."""
    trials: int = 0
    seconds: float = 0.0
    """Of the run alone: baseline, coder, trials, verdict."""
    files: list[str] = field(default_factory=list)
    is_inverse: bool = False
    """The candidate's code is the pristine harness again, comments and layout aside."""
    diff: str = ""


def check(variant: Variant | None, seed: int, progress: Progress) -> Result:
    """Only the traffic; without a variant, on the pristine harness."""
    with _stage(variant) as (product, url):
        result = Result(variant.name if variant else "pristine")
        _send(product, url, seed, result, progress)
        result.verdict = "not tried"
        return result


def play(variant: Variant, seed: int, coder: str, progress: Progress) -> Result:
    result = Result(variant.name)
    with tempfile.TemporaryDirectory(prefix="mend-variant-tree-") as folder:
        candidate = Path(folder) / "candidate"
        _repair(variant, seed, coder, candidate, result, progress)
        if candidate.exists():
            result.failed_after = _send_to_tree(candidate, seed)
            progress(f"the same requests to the candidate, wrong: {result.failed_after}")
    result.repaired = result.verdict == "converged" and result.failed_after == {}
    return result


def _repair(
    variant: Variant, seed: int, coder: str, candidate: Path, result: Result, progress: Progress
) -> None:
    """`candidate` becomes the tree that the run proposed, if it proposed one."""
    with _stage(variant) as (product, url):
        wrong = _send(product, url, seed, result, progress)
        for answer in random.Random(seed).sample(wrong, int(len(wrong) * FLAGGED_SHARE)):
            flag(url, answer.request_id, "This does not look right to me.")
        run_intake(product)
        batch_id = _biggest_ready(product, result)
        if batch_id is not None:
            try:
                _seal(product, batch_id, result, progress)
            except Refused as refused:
                result.verdict, result.reason = "not sealed", refused.message
                return
            _evolve(product, batch_id, seed, coder, candidate, result, progress)


def _send_to_tree(tree: Path, seed: int) -> dict[str, int]:
    def lay_out_tree(target: Path) -> None:
        shutil.copytree(tree, target, dirs_exist_ok=True)

    after = Result("")
    with _stage(None, lay_out_tree) as (product, url):
        _send(product, url, seed, after, lambda _: None)
    return after.failed


@contextmanager
def _stage(
    variant: Variant | None, lay_out_tree: Callable[[Path], None] | None = None
) -> Iterator[tuple[Product, str]]:
    """A running installation in a folder of its own, gone afterwards. Yields it and the service's address."""
    with tempfile.TemporaryDirectory(prefix="mend-variant-") as folder, model_server(MODEL) as port:
        home = Path(folder) / "home"
        prepare_home(home, port, variant.patch if variant else None, lay_out_tree)
        with Product.open(home) as product:
            try:
                started = agent.start(product, REQUESTER, "the benchmark begins", lambda _: None)
                yield product, str(started["url"])
            finally:
                agent.stop(product, REQUESTER, "the benchmark ends")


def _send(product: Product, url: str, seed: int, result: Result, progress: Progress) -> list[Answer]:
    answers = Users(url).send(all_visits(seed), lambda _: None)
    broken = judge.failures(answers, product.paths.calls, REQUIREMENTS)
    result.sent = len(answers)
    result.failed = {name: len(found) for name, found in sorted(broken.items())}
    progress(f"{result.sent} requests, wrong: {result.failed}")
    return [answer for found in broken.values() for answer in found if not answer.lost]


def _biggest_ready(product: Product, result: Result) -> str | None:
    policy = policy_of(product)
    found = [
        (b, readiness(product.store, b.id, policy)) for b in queries.list_batches(product.store, state="open")
    ]
    ready = sorted((b for b, state in found if state.ready), key=lambda b: (-b.evidence, b.id))
    if ready:
        result.batch = ready[0].title
        return ready[0].id
    missing = [f"{b.title}: {', '.join(state.missing)}" for b, state in found]
    result.verdict, result.reason = "no batch is ready", "; ".join(missing) or "there is no batch"
    return None


def _seal(product: Product, batch_id: str, result: Result, progress: Progress) -> None:
    with open_arena(product, product.manifest) as arena:
        sealed = seal_batch(
            product,
            arena,
            batch_id,
            who=REQUESTER,
            reason="enough failures of one kind",
            early=False,
            progress=lambda _: None,
        )
    result.visible, result.held_out = len(sealed.visible), len(sealed.held_out)
    result.regression = len(sealed.regression)
    sizes = f"{result.visible} visible, {result.held_out} held out, {result.regression} regression"
    progress(f"sealed: {sealed.title}: {sizes}")


def _evolve(
    product: Product,
    batch_id: str,
    seed: int,
    coder: str,
    candidate: Path,
    result: Result,
    progress: Progress,
) -> None:
    started = time.monotonic()
    run_id = evolution.start_run(
        product,
        batch_id,
        requester=REQUESTER,
        reason="users get wrong answers",
        seed=seed,
        options={"coder": coder},
    )
    evolution.work_on(product, run_id, lambda stage, text: progress(f"{stage}: {text}"))
    result.seconds = round(time.monotonic() - started, 1)
    with product.store.read() as session:
        run = runs.get_run(session, run_id)
        candidates = session.exec(select(CandidateRow).where(CandidateRow.run_id == run_id)).all()
    result.verdict, result.reason, result.trials = run.verdict or run.state, run.verdict_reason, run.trials
    _look_at(product, _chosen(run, candidates), candidate, result)


def _chosen(run: RunRow, candidates: Sequence[CandidateRow]) -> CandidateRow | None:
    """The run's own choice, else what it tried last."""
    of_run = [row for row in candidates if row.id == run.candidate_id]
    return next(iter(of_run), max(candidates, key=lambda row: row.iteration, default=None))


def _look_at(product: Product, row: CandidateRow | None, candidate: Path, result: Result) -> None:
    if row is None:
        return
    result.diff = product.store.blobs.get(row.diff_blob).decode(errors="replace")
    result.files = [line[6:] for line in result.diff.splitlines() if line.startswith("+++ b/")]
    worktree.export_tree(product.settings.substrate_repository, row.commit, candidate)
    with tempfile.TemporaryDirectory() as folder:
        pristine = Path(folder)
        lay_out(pristine, [])
        result.is_inverse = _code(pristine) == _code(candidate)


def _code(tree: Path) -> dict[str, str]:
    """Every module's syntax, without comments, docstrings and layout."""
    return {str(path.relative_to(tree)): _syntax(path.read_text("utf-8")) for path in tree.rglob("*.py")}


def _syntax(source: str) -> str:
    module = ast.parse(source)
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ]
    return ast.dump(module)
