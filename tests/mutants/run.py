"""Do the promoter's tests have teeth? Every `*.patch` here seeds one bug and names the test that must go red.

    python tests/mutants/run.py                all of them
    python tests/mutants/run.py --quick        those whose test is a unit test
    python tests/mutants/run.py NAME …         these
    python tests/mutants/run.py --table        the list, as docs/mutants.md shows it

A patch's head says what is broken, `Caught by:` and the test, and `Known gap:` with the reason where no test sees it.
Bugs are seeded in copies of the tree. Exit code 1: fewer than 95 % are caught, or a patch no longer fits; 2: a test is
red by itself.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "e2e", "mutants")
ENOUGH = 0.95
LONGEST = 300.0


@dataclass(frozen=True)
class Mutant:
    """One seeded bug."""

    patch: Path
    breaks: str
    test: str
    known_gap: str

    @property
    def name(self) -> str:
        return self.patch.stem

    @property
    def quick(self) -> bool:
        return self.test.startswith("tests/unit/")


@dataclass(frozen=True)
class Outcome:
    mutant: Mutant
    word: str
    """caught, survived, or unfit: the patch does not apply."""
    seconds: float
    words: str = ""


def load(names: Sequence[str] = ()) -> list[Mutant]:
    """All mutants, or those that were named. Raises SystemExit for a name that is none."""
    found = [_read(path) for path in sorted(HERE.glob("*.patch"))]
    unknown = set(names) - {mutant.name for mutant in found}
    if unknown:
        raise SystemExit(f"no such mutant: {', '.join(sorted(unknown))}")
    return [mutant for mutant in found if not names or mutant.name in names]


def _read(path: Path) -> Mutant:
    head = path.read_text(encoding="utf-8").partition("\n--- a/")[0]
    caught = re.search(r"^Caught by: (\S+::\S+)$", head, re.MULTILINE)
    gap = re.search(r"^Known gap: (.+)$", head, re.MULTILINE)
    if caught is None:
        raise SystemExit(f"{path.name}: names no test")
    return Mutant(path, head.partition("\n")[0], caught[1], gap[1] if gap else "")


def copy_house(target: Path) -> Path:
    """The packages and their tests, apart from the working tree."""
    return Path(shutil.copytree(ROOT, target, ignore=LEFT_OUT))


def run_tests(house: Path, names: Sequence[str]) -> tuple[bool, bool, str]:
    """Whether all passed, whether at least one failed (and did not merely not run), and what pytest said."""
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names]
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            argv,
            cwd=house,
            env=env,
            capture_output=True,
            text=True,
            timeout=LONGEST * len(names),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, False, "no end"
    failed = done.returncode == 1 and re.search(r"\d+ failed", done.stdout) is not None
    return done.returncode == 0, failed, done.stdout[-2000:] + done.stderr[-500:]


def fit(house: Path, patch: Path, *options: str) -> str:
    """Apply a patch to a house; what git said when it does not fit."""
    argv = ["git", "apply", *options, str(patch)]
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(house.parent)}
    done = subprocess.run(argv, cwd=house, env=env, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


def try_one(house: Path, mutant: Mutant) -> Outcome:
    started = time.monotonic()
    if trouble := fit(house, mutant.patch):
        return Outcome(mutant, "unfit", 0.0, trouble)
    try:
        _, failed, words = run_tests(house, [mutant.test])
    finally:
        fit(house, mutant.patch, "--reverse")
    return Outcome(mutant, "caught" if failed else "survived", time.monotonic() - started, words)


def campaign(mutants: Sequence[Mutant], jobs: int) -> int:
    """Try them all and tell; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        houses: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(jobs):
            houses.put(copy_house(Path(folder) / str(number)))
        first = houses.get()
        passed, _, words = run_tests(first, sorted({mutant.test for mutant in mutants}))
        houses.put(first)
        if not passed:
            print(f"a named test is red without any mutant:\n{words}")
            return 2

        def attempt(mutant: Mutant) -> Outcome:
            house = houses.get()
            try:
                outcome = try_one(house, mutant)
            finally:
                houses.put(house)
            gap = "  (a known gap)" if mutant.known_gap else ""
            print(f"{outcome.word:9}{outcome.seconds:6.1f} s  {mutant.name}{gap}", flush=True)
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            return verdict(list(pool.map(attempt, mutants)))


def verdict(outcomes: Sequence[Outcome]) -> int:
    caught = sum(outcome.word == "caught" for outcome in outcomes)
    for outcome in outcomes:
        if outcome.word == "unfit" or (outcome.word == "survived" and not outcome.mutant.known_gap):
            print(f"\n{outcome.word}: {outcome.mutant.name} ({outcome.mutant.test})\n{outcome.words}")
    print(f"{caught} of {len(outcomes)} seeded bugs caught")
    unfit = any(outcome.word == "unfit" for outcome in outcomes)
    return 1 if unfit or caught < ENOUGH * len(outcomes) else 0


def table(mutants: Sequence[Mutant]) -> str:
    """A Markdown table: the bug, what it does, the test that goes red."""
    lines = ["| bug | what is broken | caught by |", "| --- | --- | --- |"]
    for mutant in mutants:
        test = mutant.test.removeprefix("tests/").replace("::", "` `")
        seen = f"nothing: {mutant.known_gap}" if mutant.known_gap else f"`{test}`"
        lines.append(f"| `{mutant.name}` | {mutant.breaks} | {seen} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="seed bugs into the promoter and see its tests go red")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="only those that a unit test catches")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="print the list and run nothing")
    options = parser.parse_args()
    mutants = [mutant for mutant in load(options.names) if mutant.quick or not options.quick]
    if options.table:
        print(table(mutants))
        return 0
    return campaign(mutants, max(1, options.jobs))


if __name__ == "__main__":
    sys.exit(main())
