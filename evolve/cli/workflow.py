"""`evolve workflow`: typed tool workflows, looked at, checked and run against live tool servers, apart from any
evolution run."""

import asyncio
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from evolve.cli.context import open_product
from evolve.cli.output import Group, json_option, print_fields, print_json, print_table, say
from evolve.cli.workflow_compile import compile_command
from evolve.cli.workflow_options import (
    FILE,
    cache_option,
    catalog_option,
    model_address,
    model_options,
    parallel_option,
)
from evolve.cli.workflow_search import search
from evolve.cli.workflow_steps import COLUMNS, steps
from evolve.errors import BadInput, Refused
from evolve.sanitize import for_page, one_line
from evolve.settings import FILE_NAME, home_directory
from evolve.swaps import live_commit
from evolve.workflow_files import read_inputs, read_workflow
from evolve.workflow_library import library_at
from workflows.catalog import Catalog
from workflows.codec import digest, to_json
from workflows.difference import difference
from workflows.edits import told
from workflows.graph import Workflow
from workflows.grounding import Request
from workflows.mending import all_wrong, mend
from workflows.mermaid import mermaid
from workflows.record import WorkflowResult
from workflows.repairs import Repair, repairs
from workflows.shipped import library
from workflows.tool_search import search as search_tools

SHORT = 100


@click.group(cls=Group)
def workflow() -> None:
    """Typed tool workflows."""


workflow.add_command(compile_command)
workflow.add_command(search)


@workflow.command("list")
@json_option
def list_workflows(as_json: bool) -> None:
    """Those that ship with the live service; where there is no home, with the bundled one."""
    found = _shipped() if (home_directory() / FILE_NAME).exists() else library()
    if as_json:
        print_json(
            [{"name": one.name, "description": one.description, "digest": digest(one)} for one in found]
        )
        return
    rows = [(one.name, one.description, ", ".join(sorted(one.tools))) for one in found]
    print_table(("name", "description", "tools"), rows, "no workflows")


def _shipped() -> list[Workflow]:
    with open_product() as product:
        repository = product.settings.substrate_repository
        found = library_at(repository, live_commit(product.settings, product.store))
    for path, one in found.items():
        if one.problem:
            say(f"{one_line(path)}: no workflow: {one_line(one.problem)}")
    return [one.workflow for one in found.values() if one.workflow]


@workflow.command()
@click.argument("file", type=FILE)
@click.option("--mermaid", "drawn", is_flag=True, help="As a Mermaid flowchart.")
@json_option
def show(file: Path, drawn: bool, as_json: bool) -> None:
    """A workflow's steps, in the order in which they may start."""
    found = read_workflow(file)
    if as_json:
        print_json(to_json(found) | {"digest": digest(found)})
    elif drawn:
        click.echo(mermaid(found), nl=False)
    else:
        inputs = ", ".join(sorted(found.inputs)) or "none"
        print_fields([("name", found.name), ("digest", digest(found)), ("inputs", inputs)])
        print_table(COLUMNS, steps(found), "no steps")


@workflow.command()
@click.argument("file", type=FILE)
@click.argument("other", type=FILE)
@json_option
def diff(file: Path, other: Path, as_json: bool) -> None:
    """What another version changes, and what it may call that the first may not."""
    found = difference(read_workflow(file), read_workflow(other))
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        (one.node or "(workflow)", one.place, _short(one.before), _short(one.after)) for one in found.changes
    ]
    print_table(("step", "place", "before", "after"), rows, "no difference")
    names = (("calls, new", found.gained), ("calls no more", found.lost))
    print_fields((name, ", ".join(tools)) for name, tools in names if tools)


@workflow.command()
@catalog_option
@cache_option
@click.option("--search", "text", help="Only what fits these words, best first.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="With --search: how many."
)
@json_option
def tools(servers: Path, cache: Path | None, text: str | None, limit: int, as_json: bool) -> None:
    """The tools of the servers, and how each server is."""

    from evolve.workflow_run import live_servers  # imports mcp, which takes a second

    async def listed() -> tuple[Catalog, list[dict[str, Any]]]:
        async with live_servers(servers, cache) as live:
            found = await live.catalog()
            return found, [asdict(one) for one in live.health()]

    found, health = asyncio.run(listed())
    specs = search_tools(found, text, limit) if text else list(found)
    if as_json:
        print_json({"servers": health, "tools": [asdict(spec) for spec in specs]})
        return
    print_table(
        ("tool", "effect", "does"), [(s.key, s.effect, _short(s.description)) for s in specs], "no tools"
    )
    for one in health:
        say(f"{one['name']}: {one['error'] or one['state']}")


@workflow.command()
@click.argument("file", type=FILE)
@catalog_option
@cache_option
@click.option("--offline", is_flag=True, help="Start no server: the tools are those that --cache remembers.")
@click.option("--request", default="", help="What it is for: values that nobody gave count as wrong, too.")
@click.option(
    "--repaired", type=FILE, help="Write the workflow, with the likeliest repairs made, to this file."
)
@json_option
def check(
    file: Path,
    servers: Path,
    cache: Path | None,
    offline: bool,
    request: str,
    repaired: Path | None,
    as_json: bool,
) -> None:
    """All that is wrong with a workflow, and what may mend it, before any call. Exit code 1 if something is."""
    from evolve.workflow_run import remembered_catalog, tools_there

    found = read_workflow(file)
    catalog = remembered_catalog(servers, cache) if offline else asyncio.run(tools_there(servers, cache))
    asked = Request(request, catalog) if request else None
    wrong = partial(all_wrong, catalog=catalog, request=asked)
    problems = repairs(found, catalog, asked.values if asked else (), wrong)
    if repaired is not None:
        mended = mend(found, catalog, request)
        repaired.write_text(json.dumps(to_json(mended.workflow), indent=2) + "\n", encoding="utf-8")
        say(f"{repaired}: {len(mended.edits)} repairs, {len(mended.left)} problems left")
    if as_json:
        shown = [asdict(one) | {"repairs": [_repair(way) for way in ways]} for one, ways in problems.items()]
        print_json({"digest": digest(found), "problems": shown})
    else:
        rows = [
            (
                one.node or "(workflow)",
                one.path,
                one.kind,
                one.expected,
                one.found,
                told(ways[0].edit) if ways else "",
            )
            for one, ways in problems.items()
        ]
        columns = ("step", "place", "problem", "expected", "found", "may be mended so")
        print_table(columns, rows, "nothing is wrong with it")
    if problems:
        raise SystemExit(Refused.exit_code)


@workflow.command()
@click.argument("file", type=FILE)
@click.option("--catalog", "servers", type=FILE, help="File with mcpServers: where the tools are.")
@cache_option
@click.option("--input", "-i", "words", multiple=True, metavar="NAME=VALUE", help="A value for each input.")
@click.option(
    "--journal", type=FILE, help="Write each call down; run again with it to go on after an interruption."
)
@click.option("--record", type=FILE, help="Keep the calls and their results in this file.")
@click.option("--cassette", type=FILE, help="A dry run: results come from a file made with --record.")
@click.option("--max-tool-calls", type=click.IntRange(0), help="End rather than make one more.")
@parallel_option
@model_options
@json_option
def run(
    file: Path,
    words: tuple[str, ...],
    base_url: str | None,
    model: str | None,
    api_key_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Check a workflow and run it. Exit code 1 if it is wrong, or comes to no answer."""
    from evolve.workflow_run import RunOptions, play

    found = read_workflow(file)
    inputs = read_inputs(found, words)
    if (options["servers"] is None) == (options["cassette"] is None):
        raise BadInput("give either --catalog, to call the tools, or --cassette, for a dry run")
    address = model_address(base_url, model, api_key_file)
    result = asyncio.run(play(found, inputs, RunOptions(**options, model=address)))
    _print_result(found, result, as_json)
    if result.text is None:
        raise SystemExit(Refused.exit_code)


def _print_result(found: Workflow, result: WorkflowResult, as_json: bool) -> None:
    if as_json:
        steps = [asdict(record) for record in result.records]
        print_json({"digest": digest(found), "text": result.text, "steps": steps})
    elif result.text is not None:
        click.echo(for_page(result.text, cap=1_000_000))
    else:
        rows = [(one.node, one.state, one.attempts, one.error or _short(one.value)) for one in result.records]
        print_table(("step", "state", "calls", "came to"), rows, "no steps")
        say("no answer: a step that it needs did not get done")


def _repair(way: Repair) -> dict[str, Any]:
    return {"edit": type(way.edit).__name__, **asdict(way.edit), "told": told(way.edit), "left": way.left}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return one_line(text)[:SHORT]
