"""`evolve workflow search`: a workflow that does a task, found by running candidates."""

import asyncio
import json
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
from evolve.cli.workflow_steps import COLUMNS, steps
from evolve.errors import Refused
from workflows.codec import to_json
from workflows.edits import told

if TYPE_CHECKING:
    from evolve.workflow_search import Report
    from workflows.searching.population import Tried


@click.command()
@click.option("--task", "file", type=FILE, required=True, help="What is asked for, and when it is done.")
@catalog_option
@cache_option
@model_options
@click.option(
    "--max-tool-calls", type=click.IntRange(1), default=500, show_default=True, help="Of all candidates."
)
@click.option("--max-tokens", type=click.IntRange(1), default=50_000, show_default=True, help="Of the model.")
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), default=600, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="The same one means the same search.")
@parallel_option
@click.option("--out", type=FILE, help="Write the best workflow to this file.")
@json_option
def search(
    file: Path,
    base_url: str | None,
    model: str | None,
    api_key_file: Path | None,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find a workflow that does a task: by repairs, typed edits, and a model if one is given. Each candidate runs against
    the servers, whose state is put back in between. Exit code 1 unless all that the task asks for is verified."""
    from evolve.workflow_search import SearchOptions, search_for
    from evolve.workflow_task import read_task

    task, address = read_task(file), model_address(base_url, model, api_key_file)
    with Progress() as progress:
        report = asyncio.run(
            search_for(task, file.absolute().parent, SearchOptions(**options, model=address), progress.line)
        )
    for line in report.lost:
        say(line)
    best = report.found.best
    if out is not None:
        out.write_text(json.dumps(to_json(best.workflow), indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(_table(report))
    else:
        _print(report)
    if not best.fitness.complete:
        raise SystemExit(Refused.exit_code)


def _table(report: "Report") -> dict[str, Any]:
    found = report.found
    spent = {**report.spent._asdict(), "seconds": round(report.seconds, 2)}
    return {
        **_shown(found.best),
        "workflow": to_json(found.best.workflow),
        "complaints": found.best.fitness.complaints,
        "ended": found.ended,
        "spent": spent,
        "evaluated": found.evaluated,
        "generations": found.generations,
        "saved": {"evaluations": found.saved, "tool_calls": report.reads_saved},
        "course": [{**_shown(one), "edits": [told(edit) for edit in one.edits]} for one in found.course],
        "front": [{**_shown(one), "workflow": to_json(one.workflow)} for one in found.front],
    }


def _shown(one: "Tried") -> dict[str, Any]:
    fitness = asdict(one.fitness)
    names = ("completion", "coverage", "grounding", "cost", "latency")
    return {"digest": one.digest, "origin": one.origin, **{name: fitness[name] for name in names}}


def _print(report: "Report") -> None:
    found, best = report.found, report.found.best
    print_table(COLUMNS, steps(best.workflow), "no steps")
    spent = f"{report.spent.tool_calls} tool calls, {report.spent.tokens} tokens, {report.seconds:.1f} s"
    fields: list[tuple[str, object]] = [
        ("digest", best.digest),
        ("verified", f"{best.fitness.completion:.0%}"),
        ("a run", f"{best.fitness.cost:g} tool calls, the longest chain {best.fitness.latency:g}"),
        ("spent", spent),
        ("tried", f"{found.evaluated} workflows in {found.generations} generations; ended: {found.ended}"),
    ]
    edits = [told(edit) for one in found.course for edit in one.edits]
    print_fields(
        [
            *fields,
            *(("edit", line) for line in edits),
            *(("missing", line) for line in best.fitness.complaints),
        ]
    )
