"""Compiling one workflow for an operator: its files read and checked, live servers and a model, and the set written."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from jsonschema import Draft202012Validator

from evolve.errors import BadInput, Broken, Refused
from evolve.workflow_files import read_json
from evolve.workflow_run import ModelAddress, chat_model, live_catalog, live_servers
from workflows.callers import Spent
from workflows.calling import ModelRequest
from workflows.catalog import Catalog
from workflows.check import check
from workflows.graph import Workflow
from workflows.model import ChatModel
from workflows.pareto.bench import Bench
from workflows.pareto.compiling import Compiled, compile_points, told
from workflows.pareto.meter import Answered, Ask, Budget
from workflows.pareto.space import ConfigurationsError, Space, read_configurations
from workflows.points import ENDING, Point, write_points
from workflows.servers import Servers
from workflows.servers.file import ServersFile, read_servers_file
from workflows.servers.state_copies import StateError
from workflows.verify import Case, CasesError, read_cases


@dataclass(frozen=True)
class CompileOptions:
    servers: Path
    configurations: Path
    cases: Path
    cache: Path | None = None
    model: ModelAddress | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    most: int = 16
    """Configurations that are measured."""
    parallel: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Result:
    space: Space
    compiled: Compiled
    tool_calls: int
    tokens: int
    seconds: float


def compile_workflow(workflow: Workflow, options: CompileOptions, say: Callable[[str], None]) -> Result:
    """Raises BadInput, NotFound, Broken, and Refused where the workflow is wrong, verifies nowhere, or could not even be run
    as it is within the caps."""
    try:
        configurations = read_configurations(read_json(options.configurations))
        cases = read_cases(read_json(options.cases))
    except ConfigurationsError as error:
        raise BadInput(f"{options.configurations}: {error}") from None
    except CasesError as error:
        raise BadInput(f"{options.cases}: {error}") from None
    _require_inputs(workflow, cases, options.cases)
    space = Space(workflow, configurations)
    _require_model(space, options)
    result = asyncio.run(_compiled(space, cases, options, say))
    if not any(point.accuracy.value for point in result.compiled.measured):
        first = result.compiled.first_complaint
        raise Refused(f"{workflow.name}: verified in no case under any configuration; as it is: {first}")
    return result


def points_file(workflow: Path) -> Path:
    return workflow.with_name(workflow.stem + ENDING)


def write_set(result: Result, path: Path) -> None:
    """Whole or not at all. Raises BadInput."""
    table = write_points(result.compiled.set_of(result.space))
    waiting = path.with_name(path.name + ".new")
    try:
        waiting.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(waiting, path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None


def off(point: Point) -> dict[str, float | None]:
    """By how much its estimate was off, as a share of what was measured; of the accuracy the difference itself. None: there
    was no estimate, or nothing to take a share of."""
    found = point.estimated
    if found is None:
        return {"accuracy": None, "latency_p50": None, "latency_p90": None, "cost": None}
    return {
        "accuracy": found.accuracy - point.accuracy.value,
        "latency_p50": _share(found.latency_ms.p50, point.latency_ms.p50),
        "latency_p90": _share(found.latency_ms.p90, point.latency_ms.p90),
        "cost": _share(found.cost_micro_usd, point.cost_micro_usd),
    }


async def _compiled(
    space: Space, cases: tuple[Case, ...], options: CompileOptions, say: Callable[[str], None]
) -> Result:
    started = time.monotonic()
    async with (
        live_servers(options.servers, options.cache) as servers,
        chat_model(options.model) as chat,
    ):
        catalog = await live_catalog(servers)
        _require_clean(space, catalog, options.configurations)
        changing = _changing(space, catalog)
        _require_state(changing, read_servers_file(options.servers), options.servers)
        seconds = options.max_seconds
        deadline = None if seconds is None else time.perf_counter() + seconds
        budget = Budget(options.max_tool_calls, options.max_tokens, deadline)
        bench = Bench(
            cases,
            servers.caller(),
            space.configurations.prices,
            budget,
            _asking(chat) if chat else None,
            options.model.model if options.model else "",
            options.parallel,
            servers.reset if changing else None,
        )
        try:
            compiled = await compile_points(space, bench, most=options.most, seed=options.seed, progress=say)
            if changing:
                await servers.reset()
        except Spent as error:
            raise Refused(f"{space.workflow.name}: not run on all cases as it is: {error}") from None
        except StateError as error:
            raise Broken(str(error)) from None
        _require_health(servers, space)
    return Result(space, compiled, budget.tool_calls, budget.tokens, time.monotonic() - started)


def _asking(chat: ChatModel) -> Ask:
    async def ask(request: ModelRequest) -> Answered:
        one = replace(
            chat, calls=0, prompt_tokens=0, completion_tokens=0
        )  # its counters are this question's alone
        outcome = await one.ask(request)
        return Answered(outcome, one.prompt_tokens, one.completion_tokens)

    return ask


def _require_inputs(workflow: Workflow, cases: Iterable[Case], path: Path) -> None:
    for index, case in enumerate(cases):
        odd = sorted(workflow.inputs.keys() ^ case.inputs.keys())
        if odd:
            what = "no value" if odd[0] in workflow.inputs else "no such input"
            raise BadInput(f"{path}: cases.{index}.inputs.{odd[0]}: {what}: {workflow.name} decides")
        for name, schema in workflow.inputs.items():
            if not Draft202012Validator(schema).is_valid(case.inputs[name]):
                raise BadInput(f"{path}: cases.{index}.inputs.{name}: not what {workflow.name} takes")


def _require_model(space: Space, options: CompileOptions) -> None:
    try:
        models = space.models(options.model.model if options.model else None)
    except ConfigurationsError as error:
        raise BadInput(f"{options.configurations}: {error}") from None
    if models and options.model is None:
        raise BadInput(f"{space.workflow.name} asks a model: give --base-url and --model")
    lost = sorted(str(name) for name in models if name not in space.configurations.prices.models)
    if lost:
        raise BadInput(
            f"{options.configurations}: prices.models: no price of {lost[0]!r}",
            hint="0 where it costs nothing",
        )


def _require_clean(space: Space, catalog: Catalog, path: Path) -> None:
    """Each alternative by itself, so that what is wrong can be named."""
    problems = check(space.workflow, catalog)
    if problems:
        raise Refused(f"{space.workflow.name}: {problems[0]}", hint="`evolve workflow check` shows all")
    for choice in space.singles():
        problems = check(space.configured(choice), catalog)
        if problems:
            raise BadInput(f"{path}: {told(space.configuration(choice))}: {problems[0]}")


def _tools(space: Space) -> frozenset[str]:
    return frozenset(tool for choice in space.singles() for tool in space.configured(choice).tools)


def _changing(space: Space, catalog: Catalog) -> list[str]:
    """The tools that do more than read."""
    specs = map(catalog.get, sorted(_tools(space)))
    return [spec.key for spec in specs if spec is not None and spec.effect != "read"]


def _require_state(changing: Iterable[str], file: ServersFile, path: Path) -> None:
    """What changes something is called again and again: only where it can be put back."""
    for tool in changing:
        server = tool.partition("/")[0]
        if file.servers[server].state is None:
            raise BadInput(
                f"{path}: mcpServers.{server}: {tool} may change something, and compiling calls it again and again",
                hint="name in `state` what to put back, or say in `tools` that it only reads",
            )


def _require_health(servers: Servers, space: Space) -> None:
    """A server that broke on the way made runs fail for which no configuration is to blame."""
    used = {tool.partition("/")[0] for tool in _tools(space)}
    broken = [one for one in servers.health() if one.name in used and one.error]
    if broken:
        raise Broken(f"{broken[0].name}: {broken[0].error}; nothing that was measured counts")


def _share(estimated: float, measured: float) -> float | None:
    return (estimated - measured) / measured if measured else None
