"""The planted defects are really there, wherever the demo's folder lies."""

import subprocess
from pathlib import Path

from evolve.demo.setup import DEFECTS, apply_patch
from evolve.substrates import export_harness


def test_every_defect_applies_also_inside_somebodys_checkout(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    tree = tmp_path / "folder" / "tree"
    tree.mkdir(parents=True)
    export_harness(tree)
    for patch in sorted(DEFECTS.glob("*.patch")):
        before = {path: path.read_bytes() for path in tree.rglob("*.py")}
        apply_patch(tree, patch)
        assert before != {path: path.read_bytes() for path in tree.rglob("*.py")}, patch.name
