"""A batch of the tiny substrate with one defect, and candidates for it: honest ones, cheats, and worse."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from trial_support import TINY, build, tiny_tree

from containers.bubblewrap import BubblewrapRuntime
from containers.engine import get_runtime
from containers.runtime import ImageRef
from containers.substrate import SubstrateManifest
from evidence.cases import HeldOutCase, RecordedTurn, RegressionCase, SealedBatch, VisibleCase
from trial.arena import Arena
from trial.compare import compare
from trial.gateway import GatewayConfig
from trial.graders import GraderConfig, GraderSet, load_graders
from trial.report import Check, Trial, TrialReport

DEFECT = ("max(int(word)", "min(int(word)")
GUARD = (Check(name="guard.editable_only", ok=True, reason=""),)

SKILLS = """
WANTED = {
    "largest": lambda text: str(max(int(word) for word in text.split())),
    "upper": str.upper,
    "add": lambda text: str(sum(int(word) for word in text.split())),
    "sleep": lambda text: "slept",
    "remember": lambda text: "remembered",
    "recall": lambda text: text,
}

def grade(case, replay):
    name, _, rest = case["request"]["body"]["messages"][-1]["content"].partition(" ")
    if name == "recall":
        rest = case["prelude"][-1]["body"]["messages"][-1]["content"].partition(" ")[2]
    wanted = WANTED[name](rest)
    return {"score": replay["turn"]["text"] == wanted, "reason": f"wanted {wanted}"}
"""


def graders(home: Path, runtime: BubblewrapRuntime) -> GraderSet:
    (home / "skills.py").write_text(SKILLS)
    table = {"kind": "python", "name": "skills", "file": "skills.py"}
    config: GraderConfig = TypeAdapter(GraderConfig).validate_python(table)
    return load_graders([config], home, runtime)


def tiny_image(
    runtime: BubblewrapRuntime, folder: Path, *patches: tuple[str, str], file: str = "turns.py"
) -> tuple[ImageRef, SubstrateManifest]:
    """The tiny substrate with its defect, and then these changes of `turns.py` or, where it is not there,
    `file`."""
    tree = tiny_tree(folder, DEFECT)
    for old, new in patches:
        places = [tree / "service" / name for name in ("turns.py", file)]
        path = next(path for path in places if old in path.read_text())
        path.write_text(path.read_text().replace(old, new))
    return build(runtime, tree)


def turn(text: str) -> RecordedTurn:
    body: dict[str, object] = {"messages": [{"role": "user", "content": text}]}
    return RecordedTurn(
        request_id=f"r-{text.replace(' ', '-')}", session=f"s-{text.partition(' ')[2].replace(' ', '')}",
        path="/v1/chat/completions", body=body, status=200, started=1.7e9,
    )  # fmt: skip


def sealed(
    loaded: GraderSet, image: ImageRef, *, visible: int = 3, held_out: int = 8, regression: int = 30
) -> SealedBatch:
    def fields(text: str) -> dict[str, object]:
        draft = VisibleCase(id=text, evidence_id="e", fingerprint="f", turn=turn(text))
        return {**draft.model_dump(exclude={"split"}), "graders": loaded.refs_for(draft)}

    asks = [f"largest {i} {i + 7} {i + 3}" for i in range(visible + held_out)]
    worked = [f"upper word{i}" if i % 2 else f"add {i} {i + 1}" for i in range(regression)]
    return SealedBatch(
        id="b1", fingerprint="f", title="largest is wrong", substrate="tiny", baseline_digest=image.digest,
        baseline_commit="c", graders_digest=loaded.digest, sealed_at="", sealed_by="test",
        visible=tuple(VisibleCase.model_validate(fields(text)) for text in asks[:visible]),
        held_out=tuple(HeldOutCase.model_validate(fields(text)) for text in asks[visible:]),
        regression=tuple(RegressionCase.model_validate(fields(text)) for text in worked),
    )  # fmt: skip


@dataclass
class World:
    """A sealed batch, the baseline that it was sealed on, and an arena to replay both arms in."""

    home: Path
    runtime: BubblewrapRuntime
    arena: Arena
    graders: GraderSet
    baseline: ImageRef
    batch: SealedBatch
    built: int = 0

    def image(self, *patches: tuple[str, str], file: str = "turns.py") -> ImageRef:
        self.built += 1
        return tiny_image(self.runtime, self.home / f"tree-{self.built}", *patches, file=file)[0]

    def compare(self, image: ImageRef, **changes: object) -> tuple[TrialReport, list[Trial]]:
        fields: dict[str, object] = {
            "candidate_digest": "sha256:candidate", "baseline_image": self.baseline.digest,
            "candidate_image": image.digest, "guard": GUARD, "seed": 7,
        }  # fmt: skip
        return compare(self.arena, self.batch, self.graders, **{**fields, **changes})  # type: ignore[arg-type]


@contextmanager
def open_tiny(home: Path) -> Iterator["World"]:
    """The tiny substrate with its defect as the baseline, in bubblewrap."""
    runtime = get_runtime("bubblewrap", home)
    baseline, manifest = tiny_image(runtime, home / "tree-0")
    with opened(home, runtime, baseline, manifest) as made:
        yield made


@contextmanager
def opened(
    home: Path,
    runtime: BubblewrapRuntime,
    baseline: ImageRef,
    manifest: SubstrateManifest,
    gateway_config: GatewayConfig | None = None,
) -> Iterator[World]:
    """Nothing runs afterwards."""
    with (
        graders(home, runtime) as loaded,
        Arena(runtime, manifest, workdir=home / "arena", gateway_config=gateway_config, workers=2) as arena,
    ):
        yield World(home, runtime, arena, loaded, baseline, sealed(loaded, baseline))
    assert runtime.find({}) == []


__all__ = ["DEFECT", "GUARD", "TINY", "World", "graders", "opened", "sealed", "tiny_image"]
