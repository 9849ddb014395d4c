"""The seeded bugs of `tests/mutants/` fit the source, name tests that exist, and a sample of them is caught here.

`make soak` tries them all.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "tests" / "mutants" / "run.py"
PATCHES = sorted(RUN.parent.glob("*.patch"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(RUN), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)


def named_test(patch: Path) -> str:
    found = re.search(r"^Caught by: (\S+)$", patch.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{patch.name} names no test"
    return found[1]


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_mutant_fits_the_source_and_names_a_test_that_exists(patch: Path) -> None:
    argv = ["git", "apply", "--check", str(patch)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{patch.name} no longer fits the source: {done.stderr}"
    path, _, name = named_test(patch).partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_documentation_lists_every_mutant() -> None:
    shown = (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8")
    assert len(PATCHES) >= 30
    assert run("--table").stdout.strip() in shown


def test_a_sample_is_caught_by_the_tests_named() -> None:
    quick = [patch.stem for patch in PATCHES if named_test(patch).startswith("tests/unit/")]
    done = run("--jobs", "1", *quick[::12])
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_bug_that_no_test_sees_and_one_that_fits_nothing_are_told(tmp_path: Path) -> None:
    for name in ("promote", "containers", "evidence", "harness/tiny", "tests/unit", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("mutants", "integration"):
        (tmp_path / "tests" / name).mkdir()
    copy = tmp_path / "tests" / "mutants" / "run.py"
    copy.write_text(RUN.read_text(encoding="utf-8"), encoding="utf-8")
    head = "Nothing.\nCaught by: tests/unit/promote/test_bake.py::test_a_real_rise_is_found_nearly_always\n\n"
    file = "--- a/promote/__init__.py\n+++ b/promote/__init__.py\n"
    (copy.parent / "harmless.patch").write_text(
        f"{head}{file}@@ -0,0 +1 @@\n+NOTHING = 1\n", encoding="utf-8"
    )
    (copy.parent / "outdated.patch").write_text(f"{head}{file}@@ -1 +0,0 @@\n-GONE = 1\n", encoding="utf-8")
    argv = [sys.executable, str(copy), "--jobs", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1, done
    assert "survived: harmless" in done.stdout
    assert "unfit: outdated" in done.stdout
    assert "0 of 2 seeded bugs caught" in done.stdout
