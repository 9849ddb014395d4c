"""The demo's own folder: a substrate from the bundled harness with three defects, its requirements, its people."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from containers.shim.files import wipe
from evolve.errors import BadInput, Broken
from evolve.home import add_person, create_home
from evolve.settings import FILE_NAME, load_settings
from evolve.substrates import export_harness

MARK = "demo.json"
REQUESTER, APPROVER = "olga", "ana"
DEFECTS = Path(__file__).parent / "defects"
WORLD = Path(__file__).parent / "world"
RULES = ("stock", "price", "order", "talk")
CONFIGURATION = """\
# Written by `evolve demo`.

[edge]
port = 0

[web]
port = 0

[model]
name = "default"
base_url = "http://127.0.0.1:{model_port}"
usd_micros_per_million_input = 0
usd_micros_per_million_output = 0

[tools.shop]
command = "{python}"
args = ["{home}/world/shop.py"]

[batch]
max_visible = 8
max_held_out = 14
max_regression = 100
on_tool_miss = "live"

[run]
coder_seconds = 240
iterations = 2

[swap]
bake_seconds = 10
bake_turns = 50
disk_reserve_bytes = 0

[coders.drill_never_healthy]
argv = ["{interpreter}", "{drills}/coder.py", "{{repo}}", "never_healthy"]
mounts = ["{drills}", "{defects}"]

[coders.drill_bad_in_bake]
argv = ["{interpreter}", "{drills}/coder.py", "{{repo}}", "bad_in_bake"]
mounts = ["{drills}", "{defects}"]

[consent]
policy = "separate"
"""
RULE = """
[[rules]]
name = "{name}"
file = "world/requirements.py"
function = "{name}_rule"

[[graders]]
name = "{name}"
kind = "rule"
file = "world/requirements.py"
function = "{name}_rule"
applies = {{ regex = "{applies}" }}
"""
APPLIES = {
    "stock": "(?i)in stock",
    "price": "(?i)what does .* cost",
    "order": "(?i)order [0-9]+",
    "talk": "(?i)^(tell|do you|i was|what did)",
}


@dataclass(frozen=True)
class DemoHome:
    """Where the demo lives, and the passphrase of its two people."""

    home: Path
    passphrase: str


def prepare(home: Path, model_port: int, lay_out: Callable[[Path], None] | None = None) -> DemoHome:
    """A fresh demo folder; one left by an earlier demo is replaced. `lay_out` writes another substrate than the demo's.

    Raises BadInput when the folder is anything else.
    """
    if home.exists():
        if not (home / MARK).exists() and any(home.iterdir()):
            raise BadInput(f"{home}: exists and is no demo's folder", hint="name another with --dir")
        wipe(str(home))  # images and layers in it are read-only, which stops an ordinary user's rmtree
        home.rmdir()
    create_home(home, lay_out or lay_out_with, "separate")
    shutil.copytree(WORLD, home / "world", ignore=shutil.ignore_patterns("__pycache__"))
    (home / FILE_NAME).write_text(_configuration(home, model_port), encoding="utf-8")
    passphrase = secrets.token_hex(8)
    for name, roles in ((REQUESTER, ("operator",)), (APPROVER, ("approver",))):
        add_person(load_settings(home), name, roles, passphrase)
    (home / MARK).write_text(json.dumps({"passphrase": passphrase}), encoding="utf-8")
    return DemoHome(home, passphrase)


def _configuration(home: Path, model_port: int) -> str:
    interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    text = CONFIGURATION.format(
        model_port=model_port,
        python=sys.executable,
        interpreter=interpreter,
        home=home,
        drills=Path(__file__).parent / "drills",
        defects=DEFECTS,
    )
    return text + "".join(
        RULE.format(name=name, applies=APPLIES[name].replace("\\", "\\\\")) for name in RULES
    )


def lay_out_with(tree: Path, defects: Sequence[Path] | None = None) -> None:
    """The bundled harness with the shop's limit and these patches, by default the demo's three."""
    export_harness(tree)
    policy = tree / "harness" / "policy.json"
    table = json.loads(policy.read_text(encoding="utf-8"))
    table["tools"]["bounds"]["shop/order"] = {"quantity": {"minimum": 1, "maximum": 20}}
    policy.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    for patch in sorted(DEFECTS.glob("*.patch")) if defects is None else defects:
        apply_patch(tree, patch)


def apply_patch(tree: Path, patch: Path) -> None:
    """Apply a shipped patch with git, exactly or not at all. Raises Broken."""
    # Inside somebody's checkout git would take the patch for that repository's, and skip it without a word.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.resolve().parent)}
    done = subprocess.run(
        ["git", "apply", str(patch)], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Broken(
            f"{patch.name} does not apply: {done.stderr.strip()[:200]}", hint="reinstall evolving-harness"
        )
