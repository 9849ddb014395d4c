"""Which tool a step is meant to call."""

from collections import Counter
from collections.abc import Mapping

from workflows.catalog import Catalog, ToolSpec
from workflows.grounding import Request
from workflows.solving.align import Column
from workflows.solving.drafts import DraftStep
from workflows.solving.kinds import thing
from workflows.solving.naming import named
from workflows.solving.placeholders import slot_of
from workflows.solving.refusals import Refused, tool_in_place
from workflows.tool_search import beside_best, clauses, relevance
from workflows.types import property_schema


def meant(
    column: Column, catalog: Catalog, about: Mapping[str, float], request: Request, refused: Refused
) -> tuple[str, int]:
    """The tool that most drafts name, with its votes; one whose arguments fit it counts more. If all that they name failed
    here, the one which the request speaks of most where it names what they give, and that takes it; one that only reads goes
    before its equals."""
    known = [cell for cell in column.cells.values() if catalog.get(cell.tool)]
    left = [cell for cell in known if tool_in_place(cell.tool, column.given) not in refused]
    if not known:
        return column.first.tool, 0
    if not left:
        return _another(column, catalog, request, refused), 0
    votes = Counter(cell.tool for cell in left)
    weight = {tool: about.get(tool, 0.0) for tool in votes}
    for cell in left:
        weight[cell.tool] += 0.5 + 0.5 * _fit(cell, catalog, request)
    best = max(weight, key=lambda tool: (round(weight[tool], 6), tool))
    return best, votes[best]


def _another(column: Column, catalog: Catalog, request: Request, refused: Refused) -> str:
    told = sorted(column.told)
    clause = max(clauses(request.text), key=lambda part: sum(value in part for value in told))
    about = beside_best(relevance(catalog, clause if told else request.text))
    score = {
        spec.key: about.get(spec.key, 0.0)
        + sum(_called(value, spec, request) for value in told) / max(len(told), 1)
        for spec in catalog
        if tool_in_place(spec.key, column.given) not in refused
    }

    def rank(tool: str) -> tuple[float, bool, str]:
        return round(score[tool], 6), catalog.tools[tool].effect == "read", tool

    return max(score, key=rank, default=column.first.tool)


def _called(value: str, spec: ToolSpec, request: Request) -> float:
    """How much the request calls the value by a name of one of the tool's arguments."""
    properties = spec.input_schema.get("properties")
    things = thing(spec.name)
    return max(
        (
            way.score
            for name in (properties if isinstance(properties, dict) else ())
            for way in named(name, things, property_schema(spec.input_schema, name) or {}, request)
            if value in (way.value, *(way.value if isinstance(way.value, list) else ()))
        ),
        default=0.0,
    )


def _fit(cell: DraftStep, catalog: Catalog, request: Request) -> float:
    """The part of what the tool requires that the call has, under names that the tool has."""
    spec = catalog.tools[cell.tool]
    if not cell.arguments or not spec.required:
        return 1.0
    here = [name for name in spec.required if name in cell.arguments]
    based = [name for name in here if slot_of(cell.arguments[name]) or request.says(cell.arguments[name])]
    return len(based) / len(spec.required)
