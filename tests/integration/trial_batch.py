"""A batch of the tiny substrate with one defect, and candidates for it: honest ones, cheats, and worse."""

from pathlib import Path

from pydantic import TypeAdapter
from trial_support import TINY, build, tiny_tree

from containers.bubblewrap import BubblewrapRuntime
from containers.runtime import ImageRef
from containers.substrate import SubstrateManifest
from evidence.cases import HeldOutCase, RecordedTurn, RegressionCase, SealedBatch, VisibleCase
from trial.graders import GraderConfig, GraderSet, load_graders
from trial.report import Check

DEFECT = ("max(int(word)", "min(int(word)")
GUARD = (Check(name="guard.editable_only", ok=True, reason=""),)

SKILLS = """
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


__all__ = ["DEFECT", "GUARD", "TINY", "graders", "sealed", "tiny_image"]
