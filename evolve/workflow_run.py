"""Running one workflow for an operator: against live tool servers, or dry from a recording; journaled, recorded, bounded."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx2

from evolve.errors import BadInput, Broken, NotFound, Refused
from evolve.workflow_files import read_cassette, write_cassette
from workflows.callers import Checked, Counted, Recorded, Recorder, Spent, cassette_lines
from workflows.calling import Caller
from workflows.catalog import Catalog
from workflows.check import check
from workflows.engine import run
from workflows.graph import Workflow
from workflows.journal import Journal, JournalError
from workflows.model import ChatModel
from workflows.record import WorkflowResult
from workflows.searching.metered import Metered
from workflows.servers import Servers
from workflows.servers.file import ServersFile, ServersFileError, read_servers_file
from workflows.servers.schema_cache import cached_catalog
from workflows.servers.state_copies import StateError


@dataclass(frozen=True)
class ModelAddress:
    base_url: str
    model: str
    api_key_file: Path | None = None


@dataclass(frozen=True)
class RunOptions:
    servers: Path | None = None
    """Exactly one of `servers` and `cassette` is given."""
    cassette: Path | None = None
    cache: Path | None = None
    journal: Path | None = None
    record: Path | None = None
    max_tool_calls: int | None = None
    parallel: int = 8
    model: ModelAddress | None = None


def servers_file(path: Path) -> ServersFile:
    """Raises BadInput."""
    try:
        return read_servers_file(path)
    except ServersFileError as error:
        raise BadInput(str(error)) from None


@asynccontextmanager
async def live_servers(path: Path, cache: Path | None = None) -> AsyncIterator[Servers]:
    """Raises BadInput for the file, Broken where the servers' state can't be kept."""
    file = servers_file(path)
    try:
        async with Servers(file, cache=cache) as servers:
            yield servers
    except StateError as error:
        raise Broken(str(error)) from None


async def live_catalog(servers: Servers) -> Catalog:
    """Raises Broken when no server tells its tools."""
    catalog = await servers.catalog()
    failed = [f"{one.name}: {one.error}" for one in servers.health() if one.error]
    if failed and not len(catalog):
        raise Broken(
            f"no tool server is there: {failed[0]}", hint="`evolve workflow tools` shows how each one is"
        )
    return catalog


async def tools_there(path: Path, cache: Path | None) -> Catalog:
    """Raises BadInput, Broken."""
    async with live_servers(path, cache) as live:
        return await live_catalog(live)


def remembered_catalog(path: Path, cache: Path | None) -> Catalog:
    """The tools as they were when the servers last ran. Raises BadInput for the file, and NotFound where a server's are not
    remembered."""
    if cache is None:
        raise BadInput("--offline goes with --cache: it is what tells the tools")
    found, missing = cached_catalog(servers_file(path), cache)
    if missing:
        names = ", ".join(missing)
        raise NotFound(
            f"{cache}: no tools of {names}", hint="without --offline they are asked and remembered"
        )
    return found


async def play(workflow: Workflow, inputs: Mapping[str, object], options: RunOptions) -> WorkflowResult:
    """Raises BadInput, NotFound, Broken, and Refused for a workflow that is wrong or used up its calls."""
    if options.cassette is not None:
        return await _to_its_end(workflow, inputs, Recorded(read_cassette(options.cassette)), options)
    assert options.servers is not None
    async with live_servers(options.servers, options.cache) as servers, chat_model(options.model) as chat:
        catalog = await live_catalog(servers)
        problems = check(workflow, catalog)
        if problems:
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise Refused(f"{workflow.name}: {problems[0]}{more}", hint="`evolve workflow check` shows all")
        caller = Checked(servers.caller(model=chat.ask if chat else None), catalog)
        return await _to_its_end(workflow, inputs, caller, options)


async def _to_its_end(
    workflow: Workflow, inputs: Mapping[str, object], inner: Caller, options: RunOptions
) -> WorkflowResult:
    recorder = Recorder(Counted(inner, options.max_tool_calls))
    try:
        with _journal(recorder, workflow, inputs, options.journal) as caller:
            return await run(workflow, inputs, caller, limit=options.parallel)
    except Spent as error:
        raise Refused(str(error)) from None
    except JournalError as error:
        raise BadInput(str(error)) from None
    finally:
        if options.record is not None:
            write_cassette(options.record, cassette_lines(recorder.calls))


def _journal(
    inner: Caller, workflow: Workflow, inputs: Mapping[str, object], path: Path | None
) -> AbstractContextManager[Caller]:
    return nullcontext(inner) if path is None else Journal(inner, path, workflow, inputs)


@asynccontextmanager
async def chat_model(
    address: ModelAddress | None, most_tokens: int | None = None
) -> AsyncIterator[ChatModel | None]:
    """Raises BadInput for the key's file."""
    if address is None:
        yield None
        return
    key = "none"
    if address.api_key_file is not None:
        try:
            key = address.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{address.api_key_file}: {error}") from None
    async with httpx2.AsyncClient() as http:
        yield Metered(http, address.base_url, address.model, key, most_tokens=most_tokens)
