"""`python -m benchmarks [NAME ...] [--json]`: what the product costs and saves, each as a ratio to a named peer.

Every benchmark runs both sides interleaved, in one run, and gives medians. Progress goes to standard error.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping

from benchmarks import engine, held, intake, replay, search, stopping, time_to_verdict
from benchmarks.measure import Result, say

BENCHMARKS: Mapping[str, Callable[[bool], Result]] = {
    "replay": replay.measure,
    "intake": intake.measure,
    "stopping": stopping.measure,
    "time_to_verdict": time_to_verdict.measure,
    "held": held.measure,
    "engine": engine.measure,
    "search": search.measure,
}


def text(result: Result, indent: int = 0) -> list[str]:
    """Nested figures as indented lines."""
    lines = []
    for key, value in result.items():
        head = "  " * indent + key.replace("_", " ")
        if isinstance(value, dict):
            lines += [head, *text(value, indent + 1)]
        else:
            lines.append(f"{head}: {'not measured' if value is None else value}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--list", action="store_true", help="only list the names")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--small", action="store_true", help="few repetitions: shows that it runs, measures nothing"
    )
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {unknown[0]!r}: one of {', '.join(BENCHMARKS)}")
    if options.list:
        print("\n".join(BENCHMARKS))
        return 0
    results: Result = {"cores": os.cpu_count(), "python": platform.python_version(), "small": options.small}
    for name in options.names or BENCHMARKS:
        began = time.monotonic()
        results[name] = BENCHMARKS[name](options.small)
        results[name]["seconds"] = round(time.monotonic() - began, 1)
        say(f"{name}: done in {results[name]['seconds']} s")
    print(json.dumps(results, indent=2) if options.json else "\n".join(text(results)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
