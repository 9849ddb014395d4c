"""`python -m evolve.workflow_mend`: edits workflows of a repository's library until more visible cases pass, or leaves
them as they are.

Exit codes: 0 some are better, 1 none is and nothing was touched, 2 bad usage, 5 the replays can't be had.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evolve.workflow_mend.improve import improve
from evolve.workflow_mend.judge import CheckBroken, Judge
from evolve.workflow_mend.layout import laid_out
from evolve.workflow_mend.recorded import Recorded, Unreadable, read_task
from workflows.check import check
from workflows.codec import GraphError, from_json, to_json
from workflows.difference import difference
from workflows.graph import Workflow
from workflows.shipped import match

EXIT_OK, EXIT_NO, EXIT_USAGE, EXIT_BROKEN = 0, 1, 2, 5
LIBRARY = "workflows/library"
Library = dict[str, Workflow]
"""File -> workflow."""


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(
        prog="evolve.workflow_mend", description="Improve the workflows that failing visible cases ran."
    )
    parse.add_argument(
        "--repo", metavar="DIR", type=Path, required=True, help="the repository, edited in place"
    )
    parse.add_argument("--task", metavar="DIR", type=Path, required=True, help="the coder's task folder")
    parse.add_argument("--budget-seconds", metavar="N", type=float, default=100.0, help="default 100")
    parse.add_argument("--seed", metavar="N", type=int, default=0, help="default 0")
    parse.add_argument(
        "--any-tool",
        action="store_true",
        help="a workflow may call tools that it neither calls nor declares yet",
    )
    return parse


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        recorded = read_task(options.task)
        report = asyncio.run(_improve_all(options, recorded))
    except Unreadable as problem:
        print(f"evolve.workflow_mend: {problem}", file=sys.stderr)
        return EXIT_USAGE
    except CheckBroken as problem:
        print(f"evolve.workflow_mend: {problem}", file=sys.stderr)
        return EXIT_BROKEN
    print(json.dumps(report, indent=1, ensure_ascii=False))
    return EXIT_OK if report["improved"] else EXIT_NO


async def _improve_all(options: argparse.Namespace, recorded: Recorded) -> dict[str, object]:
    """One workflow after the other, that with the most failing cases first; each stands on what was mended before."""
    end = time.monotonic() + options.budget_seconds
    library = _read_library(options.repo)
    improved: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="workflow-mend-") as folder:
        judge = Judge.of(options.repo, Path(folder) / "copy")
        outcome = await judge.passing_now()
        failing = [case for case, good in sorted(outcome.items()) if not good]
        passing = [case for case, good in sorted(outcome.items()) if good]
        ran = _handled(failing, library, recorded)
        for file in sorted(ran, key=lambda file: (-len(ran[file]), file)):
            shape = _shape(options.repo / file)
            found = await improve(
                file,
                library[file],
                recorded.of(library[file], options.any_tool),
                shape,
                judge,
                ran[file],
                passing,
                seed=options.seed,
                seconds=max(1.0, end - time.monotonic()),
                progress=_progress,
            )
            if found is None:
                continue
            for root in (judge.copy, options.repo):
                (root / file).write_bytes(shape(found.workflow))
            passing += found.mends
            changes = difference(library[file], found.workflow).changes
            told = [f"{one.node} {one.place}: {one.before!r} -> {one.after!r}"[:400] for one in changes]
            improved.append({"file": file, "changes": told, "mends": list(found.mends), "tried": found.tried})
        return {"improved": improved, "ran": ran, "failing": len(failing), "replays": judge.replays}


def _shape(path: Path) -> Callable[[Workflow], bytes]:
    """How a version is written in the place of this file."""
    like = json.loads(path.read_text("utf-8"))
    return lambda workflow: laid_out(to_json(workflow), like)


def _read_library(repository: Path) -> Library:
    found = {}
    for path in sorted((repository / LIBRARY).glob("*.json")):
        try:
            found[path.relative_to(repository).as_posix()] = from_json(json.loads(path.read_text("utf-8")))
        except (GraphError, OSError, ValueError, RecursionError) as problem:
            _progress(f"{path.name} is left out: {problem}")
    return found


def _handled(failing: Sequence[str], library: Library, recorded: Recorded) -> dict[str, list[str]]:
    """File -> failing cases that its workflow answers; or would answer, if it were in order."""
    found: dict[str, list[str]] = {}
    for case in failing:
        text = recorded.asked.get(case, "")
        fitting = [file for file, workflow in library.items() if match(workflow, text) is not None]
        clean = [file for file in fitting if not check(library[file], recorded.of(library[file], True))]
        for file in (*clean, *fitting)[:1]:
            found.setdefault(file, []).append(case)
    return found


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
