"""Play variants one after the other; a table for people on stderr, or one JSON object on stdout."""

import argparse
import dataclasses
import json
import sys
from functools import partial

from benchmarks.mend_variants import VARIANTS
from benchmarks.mend_variants.play import Result, check, play
from evolve.demo.play import SEED


def say(name: str, text: str) -> None:
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def counted(failed: dict[str, int]) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in failed.items())
    return f"{sum(failed.values())} ({parts})" if failed else "0"


def table(results: list[Result]) -> str:
    heads = ("variant", "failed before", "visible / held out / regression", "verdict")
    rows = [(*heads, "failed after", "repaired", "change", "seconds"), ("---",) * 8]
    for r in results:
        rows.append(
            (
                r.name,
                f"{counted(r.failed)} of {r.sent}",
                f"{r.visible} / {r.held_out} / {r.regression}",
                r.verdict,
                "no candidate" if r.failed_after is None else counted(r.failed_after),
                "yes" if r.repaired else "no",
                "none" if not r.diff else "the inverse" if r.is_inverse else f"another, {', '.join(r.files)}",
                f"{r.seconds:.0f}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mend_variants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--coder",
        choices=("mend", "undo"),
        default="mend",
        help="undo: takes the patch back; what the gate says of the right repair",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="no repair: send the traffic, also to the pristine harness, and count",
    )
    options = parser.parse_args()
    by_name = {variant.name: variant for variant in VARIANTS}
    if unknown := [name for name in options.names if name not in by_name]:
        parser.error(f"no variant {unknown[0]}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in options.names or by_name]
    results: list[Result] = []
    for variant in [None, *chosen] if options.check else chosen:
        progress = partial(say, variant.name if variant else "pristine")
        if options.check or variant is None:
            results.append(check(variant, options.seed, progress))
        else:
            results.append(play(variant, options.seed, options.coder, progress))
    if options.as_json:
        print(
            json.dumps({"seed": options.seed, "variants": [dataclasses.asdict(r) for r in results]}, indent=2)
        )
    else:
        print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
