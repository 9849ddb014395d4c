"""`evolve workflow compile`: a Pareto set of a workflow's configurations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evolve.cli.output import json_option, print_fields, print_json, print_table, say
from evolve.cli.progress import Progress
from evolve.cli.workflow_options import (
    FILE,
    cache_option,
    catalog_option,
    model_address,
    model_options,
    parallel_option,
)
from evolve.workflow_files import read_workflow
from workflows.codec import digest

if TYPE_CHECKING:
    from evolve.workflow_compile import Result
    from workflows.points import Point


@click.command("compile")
@click.argument("file", type=FILE)
@catalog_option
@cache_option
@click.option("--configurations", type=FILE, required=True, help="Alternatives of its steps, and prices.")
@click.option("--cases", type=FILE, required=True, help="Inputs, and what has to hold of the run on them.")
@model_options
@click.option("--max-tool-calls", type=click.IntRange(0), default=1000, show_default=True)
@click.option("--max-tokens", type=click.IntRange(0), default=200_000, show_default=True)
@click.option("--max-seconds", type=click.FloatRange(0), default=900, show_default=True)
@click.option(
    "--most", type=click.IntRange(1), default=16, show_default=True, help="Configurations measured."
)
@parallel_option
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=FILE, help="Where the set goes; left out, NAME.points.json beside NAME.json.")
@json_option
def compile_command(
    file: Path,
    base_url: str | None,
    model: str | None,
    api_key_file: Path | None,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure a workflow under configurations of its steps, and write those that none beats in everything."""
    from evolve.workflow_compile import CompileOptions, compile_workflow, points_file, write_set

    found = read_workflow(file)
    address = model_address(base_url, model, api_key_file)
    with Progress() as progress:
        result = compile_workflow(found, CompileOptions(**options, model=address), progress.line)
    target = out or points_file(file)
    write_set(result, target)
    if as_json:
        print_json(_table(result) | {"file": str(target)})
        return
    columns = (
        "configuration",
        "accuracy",
        "ms p50",
        "ms p90",
        "micro-USD",
        "tokens",
        "calls",
        "estimate off by",
    )
    print_table(columns, _rows(result), "no points")
    print_fields(_summary(result))
    say(f"{target}: written")


def _table(result: Result) -> dict[str, Any]:
    from evolve.workflow_compile import off

    kept = result.compiled.set_of(result.space).points
    measured = [
        {"kept": point in kept, "estimate_off_by": off(point), **asdict(point)}
        for point in result.compiled.measured
    ]
    return {
        "digest": digest(result.space.workflow),
        "configurations": result.compiled.size,
        "measured": measured,
        "unprofiled": result.compiled.unprofiled,
        "ended": result.compiled.ended,
        "spent": {"tool_calls": result.tool_calls, "tokens": result.tokens, "seconds": result.seconds},
    }


def _rows(result: Result) -> Iterator[tuple[str, ...]]:
    """The kept ones, the most accurate first, and then what they beat."""
    from workflows.pareto.compiling import told

    kept = result.compiled.set_of(result.space).points
    beaten = [point for point in result.compiled.measured if point not in kept]
    for point in (*kept, *beaten):
        yield (
            told(point.configuration) + ("" if point in kept else " (beaten)"),
            f"{point.accuracy.value:.2f} ({point.accuracy.low:.2f} to {point.accuracy.high:.2f}, n={point.accuracy.n})",
            f"{point.latency_ms.p50:.0f}",
            f"{point.latency_ms.p90:.0f}",
            str(point.cost_micro_usd),
            f"{point.tokens:.0f}",
            f"{point.tool_calls:.1f}",
            _off(point),
        )


def _off(point: Point) -> str:
    from evolve.workflow_compile import off

    found = off(point)
    accuracy = found.pop("accuracy")
    if accuracy is None:
        return "(not estimated)"
    shares = (f"{name} {value:+.0%}" for name, value in found.items() if value is not None)
    return ", ".join((f"accuracy {accuracy:+.2f}", *shares))


def _summary(result: Result) -> Iterator[tuple[str, str]]:
    compiled = result.compiled
    yield "measured", f"{len(compiled.measured)} of {compiled.size} configurations"
    yield "spent", f"{result.tool_calls} tool calls, {result.tokens} tokens, {result.seconds:.1f} s"
    if compiled.unprofiled:
        yield "not profiled", f"{len(compiled.unprofiled)} alternatives: the caps were reached"
    if compiled.ended:
        yield "ended early", compiled.ended
