"""The gate corpus' substrate as a whole product: traffic, a sealed batch, and coders that play proposals in a sandbox."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evolve_world import APPROVER, CONSENT, LISTEN, PASSPHRASE, REQUESTER, World, ask, running
from gate_corpus import Candidate as Cheat
from gate_corpus import Edit, lay_out_tiny
from trial_batch import SKILLS

from evolve.home import add_person, create_home
from evolve.settings import FILE_NAME, load_settings

PLAYER = Path(__file__).with_name("pipeline_player.py")
INTERPRETER = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
SEED = "7"
RULE = """

def largest_is_right(turn):
    name, _, rest = turn["request"]["messages"][-1]["content"].partition(" ")
    if name != "largest":
        return None
    wanted = str(max(int(word) for word in rest.split()))
    got = turn["reply"]["choices"][0]["message"]["content"]
    return None if got == wanted else f"wanted {wanted}"
"""
SETTINGS = """
[batch]
min_visible = 3
min_held_out = 8
min_regression = 30
max_visible = 3
max_held_out = 8
max_regression = 30

[run]
depth = "light"
iterations = 1
coder_seconds = 120
workers = 2

[[rules]]
name = "largest"
file = "skills.py"
function = "largest_is_right"

[[graders]]
name = "skills"
kind = "python"
file = "skills.py"
"""


@dataclass(frozen=True)
class Proposal:
    """What a coder does in its sandbox: `edits` of the worktree, then `script`, a shell script that begins in the worktree.

    `$PY` is a Python there. `why`: words that the run's record says against it, each of them due.
    `alone`: only a trial can tell it, and a pass tries its leader only, so it gets a run of its own.
    """

    name: str
    why: tuple[str, ...]
    edits: tuple[Edit, ...] = ()
    script: str = ""
    alone: bool = False

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of(cls, cheat: Cheat) -> "Proposal":
        """A candidate of the gate's corpus, handed in by a coder."""
        if "visible_fixed" in cheat.accused_by:  # it mends nothing: the screen says so before any trial
            return cls(cheat.kind, ("wanted",), cheat.edits)
        guarded = any(name.startswith("guard.") for name in cheat.accused_by)
        return cls(cheat.kind, cheat.accused_by, cheat.edits, alone=not guarded)


def create(home: Path, code: str = SKILLS + RULE) -> World:
    """A home with the defective substrate and people; `code` judges in rule and grader. Nothing runs."""
    create_home(home, lay_out, "separate")
    (home / "skills.py").write_text(code)
    (home / FILE_NAME).write_text(LISTEN + SETTINGS + CONSENT)
    for name, roles in ((REQUESTER, ("operator",)), (APPROVER, ("approver",))):
        add_person(load_settings(home), name, roles, PASSPHRASE)
    return World(home)


def make_world(home: Path) -> World:
    """A sealed batch of wrong `largest` answers. Nothing runs. Copy it, never change it."""
    world = create(home)
    with running(world) as url:
        assert {status for status, _ in ask(url, questions())} == {200}
        for name in NOTED:
            assert ask(url, (f"remember {name}", "recall"), name, name)[-1] == (200, name)
        seal(world)
    return world


def lay_out(tree: Path) -> None:
    tree.rmdir()
    lay_out_tiny(tree)


def with_model(world: World, url: str) -> None:
    """The service's model is there, for proposals that ask it; it costs nothing."""
    prices = "usd_micros_per_million_input = 0\nusd_micros_per_million_output = 0\n"
    path = world.home / FILE_NAME
    path.write_text(f'{path.read_text()}\n[model]\nbase_url = "{url}"\n{prices}')


NOTED = ("one", "two", "three", "four")
"""Sessions whose second turn needs the first; with `questions` all that work are needed."""


def questions() -> list[str]:
    """Of those that work 30 become regression cases, 6 stand beside the visible failures, and four take their time."""
    fine = [f"upper word{i}" if i % 2 else f"add {i} {i + 1}" for i in range(36 - 2 * len(NOTED) - 4)]
    fine += [f"sleep 0.{i}" for i in range(1, 5)]
    return [f"largest {i} {i + 7} {i + 3}" for i in range(14)] + fine


def seal(world: World) -> None:
    world.ok("scan")
    sealed = world.ok("batch", "seal", world.batch("largest"), "--reason", "enough of them")
    assert (sealed["visible"] >= 3, sealed["held_out"], sealed["regression"]) == (True, 8, 30), sealed


def configure(
    world: World, proposals: Iterable[Proposal], more: Mapping[str, object] | None = None
) -> list[str]:
    """A coder for each proposal, with `more` in its table; their names."""
    folder = world.home.with_name(f"{world.home.name}-proposals")
    folder.mkdir(exist_ok=True)
    (folder / PLAYER.name).write_text(PLAYER.read_text())
    path, names = world.home / FILE_NAME, []
    text = path.read_text()
    for proposal in proposals:
        name = f"p{text.count('[coders.')}"
        told = {"edits": [asdict(edit) for edit in proposal.edits], "script": proposal.script}
        (folder / f"{name}.json").write_text(json.dumps(told))
        argv = [str(INTERPRETER), str(folder / PLAYER.name), str(folder / f"{name}.json"), "{repo}"]
        table = {"argv": argv, "mounts": [str(folder)], **(more or {})}
        text += f"\n[coders.{name}]\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in table.items())
        names.append(name)
    path.write_text(text)
    return names


@dataclass(frozen=True)
class Ended:
    """A run as whoever looks at it finds it."""

    code: int
    run: dict[str, Any]
    record: list[dict[str, Any]]
    candidates: list[dict[str, Any]]
    batch: str

    def why(self, proposal: int) -> str:
        """What the record says against one proposal; of its trial, too, if it was the only one, for a pass has one trial."""
        said: list[str] = []
        for one in self.record:
            name, output = one["stage"]["name"], one["output"]
            if one["stage"]["proposal"] == proposal and name == "code_review":
                said.append(output["reason"])
            elif one["stage"]["proposal"] == proposal and name == "screen":
                said += output["reasons"].values()
            elif len(self.candidates) == 1 and name in ("select", "verdict"):
                said += output.get("reasons") or [output.get("reason", "")]
            elif len(self.candidates) == 1 and name == "trial":
                said += [check["name"] for check in output["report"]["checks"] if not check["ok"]]
        return "; ".join(said)

    @property
    def offered(self) -> bool:
        """Whether anything here asks for an approval."""
        ready = [one for one in self.candidates if one["state"] not in ("built", "refused", "tried")]
        return bool(ready) or self.batch not in ("sealed", "evolving") or self.run["verdict"] == "converged"


def play(world: World, coders: list[str], *options: str, **env: str) -> Ended:
    """One pass over these coders, one proposal each."""
    chosen = [word for name in coders for word in ("--coder", name)]
    size = ("--candidates", str(len(coders)), "--iterations", "1", "--seed", SEED)
    batch = world.batch("largest")
    done = world.run("run", "start", batch, *chosen, *size, *options, "--reason", "users complain", **env)
    assert "Traceback" not in done.err, done.err
    run = world.ok("run", "list")[0]
    return Ended(
        code=done.code,
        run=run,
        record=world.ok("run", "show", run["id"])["stages"],
        candidates=[one for one in world.ok("candidate") if one["run_id"] == run["id"]],
        batch=next(str(one["state"]) for one in world.ok("batch") if one["id"] == batch),
    )
