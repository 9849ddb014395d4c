"""`evolve workflow`: typed tool workflows, looked at, checked and run against live tool servers, apart from any evolution run."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx2

from evolve.cli.output import Group, json_option, print_fields, print_json, print_table, say
from evolve.cli.progress import Progress
from evolve.errors import BadInput, Broken, Refused
from evolve.workflow_files import read_cassette, read_inputs, read_workflow, write_cassette
from workflows.callers import Checked, Counted, Recorded, Recorder, Spent, cassette_lines
from workflows.calling import Caller
from workflows.catalog import Catalog
from workflows.check import check as all_problems
from workflows.codec import digest, to_json
from workflows.compiled import WorkflowError
from workflows.difference import difference
from workflows.engine import run as run_to_its_end
from workflows.graph import Workflow
from workflows.journal import Journal, JournalError
from workflows.mermaid import mermaid, what
from workflows.model import ChatModel
from workflows.record import WorkflowResult
from workflows.servers import Servers
from workflows.servers_file import ServersFileError, read_servers_file
from workflows.shipped import library
from workflows.state_copies import StateError
from workflows.tool_search import search as search_tools

T = TypeVar("T")
JSON_FILE = click.Path(path_type=Path, dir_okay=False)

catalog_option = click.option(
    "--catalog", "servers", type=JSON_FILE, required=True, help="File with mcpServers: where the tools are."
)
cache_option = click.option(
    "--cache", type=JSON_FILE, help="Remember listings and learnt types of results in this file."
)


@click.group(cls=Group)
def workflow() -> None:
    """Typed tool workflows."""


@workflow.command("list")
@json_option
def list_workflows(as_json: bool) -> None:
    """Those that ship with the agent."""
    found = library()
    if as_json:
        print_json([{"name": one.name, "description": one.description, "digest": digest(one)} for one in found])
        return
    print_table(("name", "description", "tools"), [(f.name, f.description, ", ".join(sorted(f.tools))) for f in found], "none")


@workflow.command()
@click.argument("file", type=JSON_FILE)
@click.option("--mermaid", "drawn", is_flag=True, help="As a Mermaid flowchart.")
@json_option
def show(file: Path, drawn: bool, as_json: bool) -> None:
    """A workflow's steps."""
    found = read_workflow(file)
    if as_json:
        print_json(to_json(found) | {"digest": digest(found)})
    elif drawn:
        click.echo(mermaid(found), nl=False)
    else:
        print_fields([("name", found.name), ("digest", digest(found)), ("inputs", ", ".join(sorted(found.inputs)))])
        print_table(("step", "does", "after"), list(_steps(found)), "no steps")


@workflow.command()
@click.argument("file", type=JSON_FILE)
@click.argument("other", type=JSON_FILE)
@json_option
def diff(file: Path, other: Path, as_json: bool) -> None:
    """What another version changes, and what it may do that the first may not."""
    found = difference(read_workflow(file), read_workflow(other))
    if as_json:
        print_json(asdict(found))
        return
    rows = [(change.node or "(workflow)", change.place, _short(change.before), _short(change.after)) for change in found.changes]
    print_table(("step", "place", "before", "after"), rows, "no difference")
    print_fields([("may call, new", ", ".join(found.gained))] if found.gained else [])
    print_fields([("no longer calls", ", ".join(found.lost))] if found.lost else [])


@workflow.command()
@catalog_option
@cache_option
@click.option("--search", "text", help="Only what fits these words, best first.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="With --search: how many.")
@json_option
def tools(servers: Path, cache: Path | None, text: str | None, limit: int, as_json: bool) -> None:
    """The tools of the servers, and how each server is."""

    async def listed() -> tuple[Catalog, list[dict[str, Any]]]:
        async with _servers(servers, cache) as live:
            found = await live.catalog()
            return found, [asdict(one) for one in live.health()]

    found, health = _run(listed())
    specs = search_tools(found, text, limit) if text else list(found)
    if as_json:
        print_json({"servers": health, "tools": [asdict(spec) for spec in specs]})
        return
    print_table(("tool", "effect", "description"), [(s.key, s.effect, _first_line(s.description)) for s in specs], "no tools")
    for one in health:
        if one["error"]:
            say(f"{one['name']}: {one['error']}")


@workflow.command()
@click.argument("file", type=JSON_FILE)
@catalog_option
@cache_option
@json_option
def check(file: Path, servers: Path, cache: Path | None, as_json: bool) -> None:
    """All that is wrong with a workflow, before any tool is called. Exit code 1 if something is."""
    found = read_workflow(file)

    async def checked() -> Catalog:
        async with _servers(servers, cache) as live:
            return await _catalog(live)

    problems = all_problems(found, _run(checked()))
    if as_json:
        print_json({"digest": digest(found), "problems": [asdict(problem) for problem in problems]})
    else:
        rows = [(p.node or "(workflow)", p.path, p.kind, p.expected, p.found) for p in problems]
        print_table(("step", "place", "problem", "expected", "found"), rows, "nothing is wrong with it")
    if problems:
        raise SystemExit(Refused.exit_code)


@workflow.command()
@click.argument("file", type=JSON_FILE)
@click.option("--catalog", "servers", type=JSON_FILE, help="File with mcpServers: where the tools are.")
@cache_option
@click.option("--input", "-i", "words", multiple=True, metavar="NAME=VALUE", help="A value for each input.")
@click.option("--journal", type=JSON_FILE, help="Write each call down; run again with it to go on after an interruption.")
@click.option("--record", type=JSON_FILE, help="Keep the calls and their results in this file.")
@click.option("--cassette", type=JSON_FILE, help="A dry run: results come from a file made with --record.")
@click.option("--max-tool-calls", type=click.IntRange(0), help="End rather than make one more.")
@click.option("--parallel", type=click.IntRange(1), default=8, show_default=True, help="Calls at once.")
@click.option("--base-url", help="Of an OpenAI-compatible model for model steps, with its version.")
@click.option("--model", help="Its name.")
@click.option("--api-key-file", type=JSON_FILE, help="Its key.")
@json_option
def run(
    file: Path,
    servers: Path | None,
    cache: Path | None,
    words: tuple[str, ...],
    journal: Path | None,
    record: Path | None,
    cassette: Path | None,
    max_tool_calls: int | None,
    parallel: int,
    base_url: str | None,
    model: str | None,
    api_key_file: Path | None,
    as_json: bool,
) -> None:
    """Check a workflow and run it. Exit code 1 if it is wrong, or has no answer."""
    found = read_workflow(file)
    inputs = read_inputs(found, words)
    if (servers is None) == (cassette is None):
        raise BadInput("give either --catalog, to call the tools, or --cassette, for a dry run")

    async def to_its_end(inner: Caller, catalog: Catalog | None) -> WorkflowResult:
        counted = Counted(inner, max_tool_calls)
        recorder = Recorder(Checked(counted, catalog) if catalog is not None else counted)
        try:
            with _journal(recorder, journal, found, inputs) as caller:
                return await run_to_its_end(found, inputs, caller, limit=parallel)
        except Spent as error:
            raise Refused(str(error)) from None
        finally:
            if record is not None:
                write_cassette(record, cassette_lines(recorder.calls))

    async def live_run(servers: Path) -> WorkflowResult:
        async with _servers(servers, cache) as live, _model(base_url, model, api_key_file) as chat:
            catalog = await _catalog(live)
            problems = all_problems(found, catalog)
            if problems:
                more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
                raise Refused(f"{file}: {problems[0]}{more}", hint="`evolve workflow check` shows all")
            return await to_its_end(live.caller(model=chat.ask if chat else None), catalog)

    work = live_run(servers) if servers else to_its_end(Recorded(read_cassette(cassette)) if cassette else _none(), None)
    result = _run(work)
    _print_result(found, result, as_json)


def _print_result(found: Workflow, result: WorkflowResult, as_json: bool) -> None:
    if as_json:
        print_json({"digest": digest(found), "text": result.text, "steps": [asdict(record) for record in result.records]})
    else:
        rows = [(r.node, r.state, r.attempts or "", r.error or _short(r.value)) for r in result.records]
        if result.text is None:
            print_table(("step", "state", "calls", "result"), rows, "no steps")
        else:
            click.echo(result.text)
    if result.text is None:
        raise SystemExit(Refused.exit_code)
