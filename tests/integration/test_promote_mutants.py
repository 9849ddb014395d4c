"""The promoter's tests have teeth: each seeded design bug in `mutants/` is caught by the test that it names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted((Path(__file__).parent / "mutants").glob("*.patch"))
COPIED = (
    "promote",
    "containers",
    "evidence",
    "harness/tiny",
    "pyproject.toml",
    "tests/unit/promote",
    "tests/unit/evidence/test_ledger.py",
)
GONE = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and the promoter's tests, apart from the working tree."""
    copy = tmp_path_factory.mktemp("house")
    for name in COPIED:
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=GONE)
        else:
            shutil.copy(source, target)
    tests = copy / "tests" / "integration"
    tests.mkdir()
    for path in (ROOT / "tests" / "integration").glob("*promote*.py"):
        shutil.copy(path, tests)
    return copy


def run_named(house: Path, names: list[str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names]
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, cwd=house, env=env, capture_output=True, text=True, timeout=300, check=False)


def named_test(patch: Path) -> str:
    found = re.search(r"^Caught by: (\S+)$", patch.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{patch.name} names no test"
    return found[1]


def apply(house: Path, patch: Path, *options: str) -> None:
    done = subprocess.run(
        ["git", "apply", *options, str(patch)], cwd=house, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{patch.name} no longer fits the source: {done.stderr}"


def test_there_are_enough_mutants_and_each_names_its_test() -> None:
    assert len(PATCHES) >= 20
    assert all(named_test(patch) for patch in PATCHES)


def test_without_a_mutant_the_named_tests_pass(house: Path) -> None:
    done = run_named(house, sorted({named_test(patch) for patch in PATCHES}))
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_seeded_bug_is_caught_by_the_test_named_for_it(house: Path, patch: Path) -> None:
    apply(house, patch)
    try:
        done = run_named(house, [named_test(patch)])
    finally:
        apply(house, patch, "--reverse")
    assert done.returncode == 1, f"survived: {done.stdout[-2000:]}"
    assert re.search(r"\d+ failed", done.stdout), done.stdout[-2000:]
