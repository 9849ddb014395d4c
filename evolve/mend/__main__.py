"""`evolve-mend`: edits a directory until a test command passes, or leaves it as it is.

Exit codes: 0 mended (or nothing to do), 1 not mended and untouched, 2 bad usage, 5 the environment is broken,
130 interrupted and restored.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

EXIT_OK, EXIT_NO, EXIT_USAGE, EXIT_BROKEN, EXIT_INTERRUPTED = 0, 1, 2, 5, 130


class _Interrupted(BaseException):
    """SIGINT or SIGTERM."""


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(
        prog="evolve-mend",
        description="Repair Python by search: edit DIR in place until CMD exits 0, or leave it untouched.",
        epilog="CMD may hold {junit} (where to write JUnit XML) and {tests} (ids to run; empty: all).",
    )
    parse.add_argument("--repo", metavar="DIR", type=Path, required=True, help="the directory to repair")
    parse.add_argument(
        "--test", metavar="CMD", required=True, help="shell command that exits 0 when all is well"
    )
    parse.add_argument(
        "--files", metavar="GLOB", action="append", default=[], help="edit only these (repeatable)"
    )
    parse.add_argument("--budget-seconds", metavar="N", type=_positive, default=300.0, help="default 300")
    parse.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the combinations, default 0")
    parse.add_argument(
        "--max-edits", metavar="N", type=_count, default=3, help="most edits at once, default 3"
    )
    parse.add_argument("--jobs", metavar="N", type=_count, default=1, help="copies tested at once, default 1")
    parse.add_argument(
        "--suspects", metavar="FILE", type=Path, help="JSON lines {file, line, score}: where to look"
    )
    parse.add_argument(
        "--already-sandboxed",
        action="store_true",
        help="run CMD directly, in DIR itself (with --jobs above 1: in copies of DIR, as the working directory)",
    )
    parse.add_argument("--json", action="store_true", help="print one JSON object")
    return parse


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 < value <= 64:
        raise argparse.ArgumentTypeError("must be between 1 and 64")
    return value


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise _Interrupted


def main(argv: Sequence[str] | None = None) -> int:
    parse = parser()
    options = parse.parse_args(argv)
    if not options.repo.is_dir():
        parse.error(f"--repo: {options.repo} is not a directory")
    if options.suspects is not None and not options.suspects.is_file():
        parse.error(f"--suspects: {options.suspects} is not a file")
    old = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _run(parse, options)
    except _Interrupted:
        return _fail(options.json, "interrupted", "interrupted; the directory is as it was", EXIT_INTERRUPTED)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _run(parse: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from evolve.mend.files import editable, write_result
    from evolve.mend.localise import read_suspects
    from evolve.mend.report import as_json, as_text
    from evolve.mend.runner import EnvironmentBroken
    from evolve.mend.search import Config, mend
    from evolve.mend.sessions import session

    root = options.repo.resolve()
    try:
        suspects = read_suspects(options.suspects) if options.suspects is not None else None
    except ValueError as problem:
        parse.error(f"--suspects: {problem}")
    sources = editable(root, options.files)
    if not sources:
        parse.error("no Python file to edit here; see --files")
    config = Config(
        seed=options.seed,
        budget_seconds=options.budget_seconds,
        max_edits=options.max_edits,
        suspects=suspects,
        progress=_progress if sys.stderr.isatty() else lambda line: None,
    )
    try:
        with (
            tempfile.TemporaryDirectory(prefix="evolve-mend-") as home,
            session(root, options.test, Path(home), options.jobs, options.already_sandboxed) as runner,
        ):
            result = mend(sources, runner, config)
    except EnvironmentBroken as problem:
        return _fail(options.json, "environment broken", str(problem), EXIT_BROKEN)
    finally:
        if sys.stderr.isatty():
            _progress("")
    good = result.status in ("mended", "passes already")
    if good:
        write_result(root, result.changed)
    print(as_json(result, sources, options.seed) if options.json else as_text(result, sources))
    return EXIT_OK if good else EXIT_NO


def _progress(line: str) -> None:
    print(f"\r\x1b[2K{line[:110]}", end="", file=sys.stderr, flush=True)


def _fail(as_object: bool, status: str, message: str, code: int) -> int:
    if as_object:
        print(json.dumps({"status": status, "message": message}))
    print(f"evolve-mend: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
