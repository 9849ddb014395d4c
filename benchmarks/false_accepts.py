"""How often the gate accepts a candidate that changes nothing. Prints one JSON object.

    python benchmarks/false_accepts.py [--runs 100] [--simulated 2000] [--held-out 16]

Real: the tiny substrate, made to answer wrongly in 30 % of the turns, is compared with itself, image for
image, by whole comparisons in sandboxes. Simulated: the same betting test on coin flips, one candidate a
batch and five. `gain_shown` counts the betting test alone, with every other gate open; `converged`
counts the verdict.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pydantic import TypeAdapter

from containers.engine import get_runtime
from containers.runtime import Runtime
from containers.substrate import SubstrateManifest, load_manifest
from evidence.cases import HeldOutCase, RecordedTurn, RegressionCase, SealedBatch, VisibleCase
from trial.arena import Arena
from trial.graders import GraderConfig, GraderSet, load_graders
from trial.measure import VerdictPolicy
from trial.plan import repeats
from trial.standing import StandingCheck, baseline_against_itself, simulated_false_accepts
from trial.statistics import loss_upper_bound

TINY = Path(__file__).parents[1] / "harness" / "tiny"
FAIL_RATE = 0.30
OPEN = VerdictPolicy(visible_fixed=0.0, widest_margin=0.99)
"""Every gate but the gain's as wide as it goes: what is measured is the betting test."""

ANCHOR = "    def attempt(self, turn: Turn, text: str)"
FLAKY = f"""\
    def attempt(self, turn, text):
        status, answer, note = self.surely(turn, text)
        lucky = int.from_bytes(os.urandom(4), "big") >= {FAIL_RATE} * 2**32
        return status, answer if lucky else "by bad luck", note

    def surely(self, turn: Turn, text: str)"""


def flaky_image(runtime: Runtime, folder: Path) -> tuple[str, SubstrateManifest]:
    tree = folder / "tree"
    shutil.copytree(TINY, tree, ignore=shutil.ignore_patterns("__pycache__"))
    turns = tree / "service" / "turns.py"
    text = turns.read_text()
    if ANCHOR not in text:
        raise SystemExit(f"{turns}: the place to make flaky is gone")
    turns.write_text(text.replace(ANCHOR, FLAKY))
    manifest = load_manifest(tree)
    return runtime.build(tree, manifest).digest, manifest


def make_batch(graders: GraderSet, image: str, held_out: int) -> SealedBatch:
    def fields(word: str) -> dict[str, object]:
        body: dict[str, object] = {"messages": [{"role": "user", "content": f"echo {word}"}]}
        turn = RecordedTurn(request_id=word, session=word, path="/v1/chat/completions", body=body, status=200)
        draft = VisibleCase(id=word, evidence_id="", fingerprint="", turn=turn)
        return {**draft.model_dump(exclude={"split"}), "graders": graders.refs_for(draft)}

    return SealedBatch(
        id="bench",
        fingerprint="",
        title="luck",
        substrate="tiny",
        baseline_digest=image,
        baseline_commit="",
        visible=(VisibleCase.model_validate(fields("v")),),
        held_out=tuple(HeldOutCase.model_validate(fields(f"h{i}")) for i in range(held_out)),
        regression=(RegressionCase.model_validate(fields("r")),),
        graders_digest=graders.digest,
        sealed_at="",
        sealed_by="benchmark",
    )


def real_runs(runs: int, held_out: int, workers: int) -> dict[str, object]:
    wrong = {"kind": "regex", "name": "lucky", "pattern": "bad luck", "absent": True}
    config: GraderConfig = TypeAdapter(GraderConfig).validate_python(wrong)
    began = time.monotonic()
    checks: list[StandingCheck] = []
    with tempfile.TemporaryDirectory(prefix="fa-") as name:
        home = Path(name)
        runtime = get_runtime("auto", home)
        image, manifest = flaky_image(runtime, home)
        with (
            load_graders([config], home, runtime) as graders,
            Arena(runtime, manifest, workdir=home / "a", workers=workers) as arena,
        ):
            batch = make_batch(graders, image, held_out)
            jobs = repeats(batch.held_out, image, times=10, seed=0)
            outcomes = [trial.outcome for trial in arena.run(jobs, graders.grade)]
            for seed in range(runs):
                checks.append(baseline_against_itself(arena, batch, graders, seed=seed, policy=OPEN))
                print(f"{seed + 1}/{runs} {checks[-1].reason}", file=sys.stderr)
    gained = sum(check.gain_shown for check in checks)
    words = [check.report.verdict for check in checks]
    return {
        "runs": runs,
        "held_out_pairs": held_out,
        "measured_failure_rate": round(outcomes.count("fail") / len(outcomes), 3),
        "replays": sum(check.report.trials_run for check in checks) + len(outcomes),
        "gain_shown": gained,
        "gain_shown_upper_95": round(loss_upper_bound(gained, runs), 3),
        "converged": words.count("converged"),
        "verdicts": {word: words.count(word) for word in sorted(set(words))},
        "seconds": round(time.monotonic() - began, 1),
    }


def simulated(runs: int, pairs: int) -> dict[str, object]:
    def rate(candidates: int, pass_rate: float) -> float:
        return simulated_false_accepts(
            runs=runs,
            pass_rate=pass_rate,
            pairs=pairs,
            alpha=OPEN.alpha,
            candidates=candidates,
            seed=candidates,
        )

    return {
        "runs": runs,
        "pairs": pairs,
        "alpha": OPEN.alpha,
        "one_candidate": {f"{p:.0%} pass": rate(1, p) for p in (0.3, 0.5, 0.7)},
        "best_of_five": {f"{p:.0%} pass": rate(5, p) for p in (0.3, 0.5, 0.7)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--simulated", type=int, default=2000)
    parser.add_argument("--held-out", type=int, default=16, help="pairs of a real run")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    result = {
        # The fewer the pairs, the rarer an accident: real runs are to be read beside as many simulated pairs.
        "simulated": [simulated(chosen.simulated, pairs) for pairs in sorted({chosen.held_out, 40})],
        "real": real_runs(chosen.runs, chosen.held_out, chosen.workers),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
