"""`python -m benchmarks.mend_corpus`: how many of the listed faults does `evolve-mend` repair, and how rightly?

Prints JSON on standard output and a table on standard error. `--dry-run` only makes the programs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.mend_corpus.programs import HERE, NoFault, make, passes


def attempt(entry: dict[str, Any], budget: float, dry: bool) -> dict[str, Any]:
    """One row of the result."""
    row = {"program": f"{entry['module']}.{entry['function']}", "fault": entry["kind"]}
    with tempfile.TemporaryDirectory(prefix="mend-corpus-") as home:
        try:
            program = make(entry, Path(home))
        except NoFault:
            return {**row, "status": "no such fault", "repaired": False, "right": False}
        if dry:
            return {**row, "status": "made", "repaired": False, "right": False}
        command = [
            sys.executable,
            "-m",
            "evolve.mend",
            "--repo",
            str(program.folder),
            "--json",
            "--files",
            "subject.py",
        ]
        command += [
            "--test",
            f"{sys.executable} check.py visible.json {{junit}}",
            "--budget-seconds",
            str(budget),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = json.loads(done.stdout or "{}")
        repaired = done.returncode == 0
        right = repaired and passes(program.folder, program.hidden)
        operators = [edit["operator"] for edit in said.get("edits", [])]
        figures = {name: said.get(name) for name in ("status", "seconds", "tried")}
        return {**row, "repaired": repaired, "right": right, **figures, "operators": operators}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'program':52} {'fault':20} {'repaired':8} {'right':5} {'s':>5} {'tried':>6}  operators"]
    for row in rows:
        marks = ("yes" if row["repaired"] else "no", "yes" if row["right"] else "no")
        numbers = (row.get("seconds") or 0, row.get("tried") or 0)
        operators = ", ".join(row.get("operators", [])) or (row["status"] or "crashed")
        lines.append(
            f"{row['program']:52} {row['fault']:20} {marks[0]:8} {marks[1]:5} {numbers[0]:5.0f} {numbers[1]:6}  {operators}"
        )
    repaired, right = sum(r["repaired"] for r in rows), sum(r["right"] for r in rows)
    return "\n".join([*lines, f"{repaired} of {len(rows)} repaired, {right} of them right on unseen cases"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget-seconds", type=float, default=60.0)
    parser.add_argument("--only", default="", help="programs whose name holds this")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    entries = json.loads((HERE / "list.json").read_text("utf-8"))
    rows = []
    for entry in entries:
        if options.only in f"{entry['module']}.{entry['function']}":
            rows.append(attempt(entry, options.budget_seconds, options.dry_run))
            print(table(rows[-1:]).splitlines()[1], file=sys.stderr, flush=True)
    print(table(rows), file=sys.stderr)
    print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
