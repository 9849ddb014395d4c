"""Every variant is planted: its patch applies to the harness as it is now, and the result still starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mend_variants import FOLDER, VARIANTS, Variant
from benchmarks.mend_variants.home import lay_out
from benchmarks.mend_variants.traffic import all_visits


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_patch_changes_the_harness_and_it_still_loads(variant: Variant, tmp_path: Path) -> None:
    trees = []
    for name, defects in (("pristine", []), ("planted", [variant.patch])):
        tree = tmp_path / name
        tree.mkdir()
        lay_out(tree, defects)
        trees.append({path.relative_to(tree): path.read_bytes() for path in tree.rglob("*.py")})
    changed = {path.as_posix() for path in trees[0] if trees[0][path] != trees[1][path]}
    assert trees[0].keys() == trees[1].keys()
    assert changed == {word for word in variant.place.replace(",", " ").split() if word.endswith(".py")}
    done = subprocess.run(
        [sys.executable, "-c", "import harness.app, workflows.engine"],
        cwd=tmp_path / "planted",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_each_patch_belongs_to_a_variant_and_there_are_three_of_a_kind() -> None:
    assert sorted(FOLDER.glob("*.patch")) == sorted(variant.patch for variant in VARIANTS)
    assert sorted(variant.kind for variant in VARIANTS) == [*["arrival"] * 3, *["late"] * 3, *["leak"] * 3]


def test_visits_are_the_same_for_a_seed() -> None:
    assert all_visits(3) == all_visits(3)
    assert all_visits(3) != all_visits(4)
