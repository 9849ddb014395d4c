"""Replays that a comparison saves by stopping once it is decided, against replaying everything that it planned."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.measure import Result, median, say, timed
from containers.engine import get_runtime
from containers.runtime import Runtime
from containers.substrate import SubstrateManifest, load_manifest
from evidence.cases import HeldOutCase, RecordedTurn, RegressionCase, SealedBatch, VisibleCase
from evolve.substrates import export_tiny
from trial.arena import Arena
from trial.compare import compare
from trial.graders import GraderConfig, GraderSet, load_graders
from trial.report import Check, TrialReport

PEER = "a fixed number: every planned case on both arms, honeypots included (counted from the plan, not run)"
Patch = tuple[str, str]
DEFECT: Patch = ("max(int(word)", "min(int(word)")
FIX: Patch = (DEFECT[1], DEFECT[0])
HARM: Patch = ('"upper": str.upper', '"upper": str.lower')
CANDIDATES: Mapping[str, tuple[Sequence[Patch], str]] = {
    "honest fix": ((FIX,), "converged"),
    "no-op": ((), "needs_work"),
    "fix that breaks another skill": ((FIX, HARM), "regressed"),
}
"""Name: (edits of the baseline, the verdict's word)."""

GRADER = """
WANTED = {
    "largest": lambda text: str(max(int(word) for word in text.split())),
    "upper": str.upper,
    "add": lambda text: str(sum(int(word) for word in text.split())),
}

def grade(case, replay):
    name, _, rest = case["request"]["body"]["messages"][-1]["content"].partition(" ")
    wanted = WANTED[name](rest)
    return {"score": replay["turn"]["text"] == wanted, "reason": f"wanted {wanted}"}
"""


def build(runtime: Runtime, tree: Path, patches: Sequence[Patch]) -> tuple[str, SubstrateManifest]:
    """The tiny substrate with its defect, and then these edits."""
    export_tiny(tree)
    turns = tree / "service" / "turns.py"
    text = turns.read_text(encoding="utf-8")
    for old, new in (DEFECT, *patches):
        if old not in text:
            raise SystemExit(f"{turns}: {old!r} is gone")
        text = text.replace(old, new)
    turns.write_text(text, encoding="utf-8")
    manifest = load_manifest(tree)
    return runtime.build(tree, manifest).digest, manifest


def graders(home: Path, runtime: Runtime) -> GraderSet:
    (home / "skills.py").write_text(GRADER, encoding="utf-8")
    table = {"kind": "python", "name": "skills", "file": "skills.py"}
    config: GraderConfig = TypeAdapter(GraderConfig).validate_python(table)
    return load_graders([config], home, runtime)


def sealed(loaded: GraderSet, image: str, visible: int, held_out: int, regression: int) -> SealedBatch:
    def fields(text: str) -> dict[str, object]:
        body: dict[str, object] = {"messages": [{"role": "user", "content": text}]}
        name = text.replace(" ", "-")
        turn = RecordedTurn(request_id=name, session=name, path="/v1/chat/completions", body=body, status=200)
        draft = VisibleCase(id=name, evidence_id="e", fingerprint="f", turn=turn)
        return {**draft.model_dump(exclude={"split"}), "graders": loaded.refs_for(draft)}

    asks = [f"largest {i} {i + 7} {i + 3}" for i in range(visible + held_out)]
    worked = [f"upper word{i}" if i % 2 else f"add {i} {i + 1}" for i in range(regression)]
    return SealedBatch(
        id="bench",
        fingerprint="f",
        title="largest is wrong",
        substrate="tiny",
        baseline_digest=image,
        baseline_commit="c",
        graders_digest=loaded.digest,
        sealed_at="",
        sealed_by="benchmark",
        visible=tuple(VisibleCase.model_validate(fields(text)) for text in asks[:visible]),
        held_out=tuple(HeldOutCase.model_validate(fields(text)) for text in asks[visible:]),
        regression=tuple(RegressionCase.model_validate(fields(text)) for text in worked),
    )


def row(reports: Sequence[TrialReport], seconds: Sequence[float], expected: str | None) -> Result:
    words = sorted({report.verdict for report in reports})
    if expected is not None and words != [expected]:
        raise SystemExit(f"expected {expected}, the verdicts are {words}: {reports[0].reasons}")
    shares = [report.trials_saved / report.trials_planned for report in reports]
    return {
        "verdict": words[0],
        "n": len(reports),
        "planned": reports[0].trials_planned,
        "median_run": median([report.trials_run for report in reports], 0),
        "median_saved": median([report.trials_saved for report in reports], 0),
        "run_to_planned": round(1 - median(shares, 3), 3),
        "median_seconds": median(seconds, 1),
    }


def measure(small: bool) -> Result:
    seeds = range(1) if small else range(5)
    sizes = {"visible": 2, "held_out": 8, "regression": 10}
    if not small:  # the least with which a group seals itself
        sizes = {"visible": 8, "held_out": 12, "regression": 100}
    guard = (Check(name="guard.editable_only", ok=True, reason=""),)
    with tempfile.TemporaryDirectory(prefix="bt-") as name:
        home = Path(name)
        runtime = get_runtime("bubblewrap", home)
        baseline, manifest = build(runtime, home / "t", ())
        images = {
            key: build(runtime, home / f"t{number}", patches)[0]
            for number, (key, (patches, _)) in enumerate(CANDIDATES.items())
        }
        reports: dict[str, list[TrialReport]] = {key: [] for key in CANDIDATES}
        seconds: dict[str, list[float]] = {key: [] for key in CANDIDATES}
        with (
            graders(home, runtime) as loaded,
            Arena(runtime, manifest, workdir=home / "a", workers=2) as arena,
        ):
            batch = sealed(loaded, baseline, **sizes)
            for seed in seeds:
                for key, image in images.items():

                    def run(key: str = key, image: str = image, seed: int = seed) -> None:
                        report, _ = compare(
                            arena,
                            batch,
                            loaded,
                            candidate_digest="sha256:candidate",
                            baseline_image=baseline,
                            candidate_image=image,
                            guard=guard,
                            seed=seed,
                        )
                        reports[key].append(report)

                    seconds[key].append(timed(run) / 1000)
                    last = reports[key][-1]
                    say(
                        f"stopping: {key}: {last.verdict}, {last.trials_run} of {last.trials_planned} replays"
                    )
    return {
        "what": "replays of one comparison on the tiny substrate, by candidate",
        "peers": {"fixed": PEER},
        "cases": sizes,
        "candidates": {
            # ten regression cases are too few for a fix to converge
            key: row(reports[key], seconds[key], None if small else word)
            for key, (_, word) in CANDIDATES.items()
        },
    }
