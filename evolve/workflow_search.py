"""A search for an operator: against live tool servers whose state is put back between any two runs, and at the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from evolve.errors import BadInput
from evolve.workflow_advice import Advice
from evolve.workflow_run import ModelAddress, chat_model, live_catalog, live_servers, servers_file
from evolve.workflow_stage import Stage
from evolve.workflow_task import Task
from workflows.catalog import Catalog
from workflows.graph import Workflow
from workflows.searching.fitness import Spending
from workflows.searching.search import search
from workflows.searching.sketches import sketches
from workflows.searching.terms import Found, Limits
from workflows.servers.file import ServersFile


@dataclass(frozen=True)
class SearchOptions:
    servers: Path
    cache: Path | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    seed: int = 0
    parallel: int = 8
    model: ModelAddress | None = None


class Report(NamedTuple):
    found: Found
    catalog: Catalog
    start: Workflow | None
    spent: Spending
    """With what a run had spent that a limit ended."""
    reads_saved: int
    """Calls that were not made, for another candidate had read the same."""
    seconds: float
    lost: tuple[str, ...]
    """Servers that did not run, each with why."""


async def search_for(
    task: Task, folder: Path, options: SearchOptions, progress: Callable[[str], None]
) -> Report:
    """`folder`: where the task's file lies. Raises BadInput, Broken."""
    began = time.monotonic()
    async with (
        live_servers(options.servers, options.cache) as servers,
        chat_model(options.model, options.max_tokens) as chat,
    ):
        catalog = harmless(await live_catalog(servers), servers_file(options.servers), task)
        start = task.begin_with()
        stage = Stage(task, folder, servers, catalog, chat, options.max_tool_calls, options.parallel)
        advice = Advice(task, chat, lambda: stage.catalog) if chat else None
        try:
            planned = await advice.plan() if advice and not start else []
            sketched = [replace(one, inputs=task.input_types) for one in sketches(task.request, catalog)]
            found = await search(
                [start] if start else [*planned, *sketched],
                catalog,
                stage.evaluate,
                seed=options.seed,
                limits=Limits(options.max_tool_calls, options.max_tokens, options.max_seconds),
                request=task.request,
                propose=advice.edits if advice else None,
                redesign=advice.design if advice else None,
                progress=progress,
            )
        finally:
            await stage.put_back()
        lost = tuple(f"{one.name}: {one.error}" for one in servers.health() if one.error)
        spent = Spending(stage.tool_calls, chat.tokens if chat else 0)
        return Report(found, stage.catalog, start, spent, stage.reads_saved, time.monotonic() - began, lost)


def harmless(catalog: Catalog, file: ServersFile, task: Task) -> Catalog:
    """What may be called again and again: what only reads, what is put back, and what the task names. Raises BadInput."""
    start = task.begin_with()
    checked = {call.tool for case in task.all_cases for call in case.verify.calls}
    for tool in sorted({*task.tools, *checked} - catalog.tools.keys()):
        raise BadInput(
            f"the task names {tool}, which no server has", hint="`evolve workflow tools` lists them"
        )
    kept = {
        key: spec
        for key, spec in catalog.tools.items()
        if spec.effect == "read" or key in task.tools or file.servers[spec.server].state is not None
    }
    used = checked | (start.tools if start else set())
    for tool in sorted(used & catalog.tools.keys() - kept.keys()):
        raise BadInput(
            f"{tool} may change something that nobody puts back between two candidates",
            hint="give its server `state` in the servers file, or name the tool in the task's `tools`",
        )
    return replace(catalog, tools=kept)
