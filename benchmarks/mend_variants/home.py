"""The benchmark's home: the demo's, with one defect, a time server, and more to require."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.mend_variants.world import desk
from evolve.demo.setup import RULE, DemoHome, lay_out_with, prepare
from evolve.demo.world import requirements
from evolve.settings import FILE_NAME

MODEL = "benchmarks.mend_variants.world.model"
WORLD = Path(__file__).parent / "world"
REQUIREMENTS = {**requirements.REQUIREMENTS, **desk.REQUIREMENTS}
REDACT = {"voucher": r"\bVOUCHER-\d{6}\b"}
APPLIES = {
    "clock": "is when in",
    "basket": "(?i)what is in basket",
    "voucher": "(?i)which voucher|say that again",
    "settings": "^/settings",
    "letter": "(?i)^write to customer",
}
MORE = """
[tools.time]
command = "{python}"
args = ["{home}/world/clock.py"]

[coders.undo]
argv = ["git", "-C", "{{repo}}", "apply", "--reverse", "{patches}/{defect}"]
mounts = ["{patches}"]
"""


def lay_out(tree: Path, defects: Sequence[Path]) -> None:
    lay_out_with(tree, defects)
    policy = tree / "harness" / "policy.json"
    table = json.loads(policy.read_text(encoding="utf-8"))
    table["redact"] |= REDACT
    policy.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def prepare_home(
    home: Path, model_port: int, defect: Path | None, lay_out_tree: Callable[[Path], None] | None = None
) -> DemoHome:
    """A home whose substrate is the harness with the defect, or else what `lay_out_tree` writes.

    Besides `mend` there is a coder `undo`, which knows the defect and takes it back.
    """
    planted = partial(lay_out, defects=[defect] if defect else [])
    prepared = prepare(home, model_port, lay_out_tree or planted)
    for name in ("clock.py", "desk.py"):
        shutil.copy(WORLD / name, home / "world" / name)
    file = home / FILE_NAME
    file.write_text(_more(file.read_text(encoding="utf-8"), home, defect), encoding="utf-8")
    return prepared


def _more(configuration: str, home: Path, defect: Path | None) -> str:
    """The demo's `talk` takes whatever it does not know for small talk: the desk's own stands in for it."""
    demos, own = (f'file = "world/{name}.py"\nfunction = "talk_rule"' for name in ("requirements", "desk"))
    rules = (
        RULE.format(name=name, applies=applies).replace("requirements.py", "desk.py")
        for name, applies in APPLIES.items()
    )
    name = defect.name if defect else "nothing"
    more = MORE.format(python=sys.executable, home=home, patches=WORLD.parent, defect=name)
    return configuration.replace(demos, own) + more + "".join(rules)
