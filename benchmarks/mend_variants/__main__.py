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


def table(results: list[Result]) -> str:
    rows = [
        "| variant | failed before | visible / held out / regression | verdict | repaired | change | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        failed = (
            f"{sum(r.failed.values())} of {r.sent} ({', '.join(f'{k} {v}' for k, v in r.failed.items())})"
        )
        change = "none" if not r.diff else "the inverse" if r.is_inverse else f"another, {', '.join(r.files)}"
        sizes = f"{r.visible} / {r.held_out} / {r.regression}"
        repaired = "yes" if r.repaired else "no"
        rows.append(
            f"| {r.name} | {failed} | {sizes} | {r.verdict} | {repaired} | {change} | {r.seconds:.0f} |"
        )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mend_variants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--seed", type=int, default=SEED)
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
            results.append(play(variant, options.seed, progress))
    if options.as_json:
        print(
            json.dumps({"seed": options.seed, "variants": [dataclasses.asdict(r) for r in results]}, indent=2)
        )
    else:
        print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
