"""What a request asks for and a workflow does nothing about."""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping

from workflows.catalog import Catalog, ToolSpec
from workflows.graph import Literal, Workflow, calls
from workflows.grounding import Request
from workflows.tool_search import asks, clauses, relevance, words

DECIDED, ABOUT, NAMED = 1.5, 0.5, 0.8
"""A tool that fits a clause less well, beside what one word that no other tool has counts, fits by chance; one that fits
half as well as the best may do it."""


def unused(workflow: Workflow, request: Request) -> list[object]:
    """Values that the request names by quotes, signs, digits or a colon, and that no call takes, neither as they are nor
    within a longer text."""
    arguments = [
        argument for node in workflow.nodes for _, call in calls(node) for argument in call.arguments.values()
    ]
    held = json.dumps(
        [one.value for one in arguments if isinstance(one, Literal)], ensure_ascii=False
    ).lower()
    return [value for value in request.marked if str(value).lower() not in held]


def undone(workflow: Workflow, catalog: Catalog, request: Request) -> list[str]:
    """Parts of the request that a tool is about which the workflow does not call, and no tool that it calls."""
    return [clause for clause, _ in undone_by(workflow.tools, catalog, request)]


def decided(about: Mapping[str, float], catalog: Catalog) -> str | None:
    """The tool that something is about most, if it is no chance that it fits."""
    best = max(about, key=lambda key: (about[key], key), default=None)
    return best if best is not None and about[best] >= DECIDED * math.log(1 + len(catalog)) else None


def undone_by(
    tools: Iterable[str], catalog: Catalog, request: Request, named: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """These parts, each with the tool that it is about. A tool that is named, or that is called as the part begins, has
    fewer that may do it instead."""
    called = set(tools)
    for clause in filter(asks, clauses(request.text)):
        about = relevance(catalog, clause)
        best = decided(about, catalog)
        if best is None:
            continue
        here = max((about.get(tool, 0.0) for tool in called), default=0.0)
        sure = best in named or called_so(catalog.tools[best], clause)
        if here < about[best] * (NAMED if sure else ABOUT):
            yield clause.strip(), best


def called_so(spec: ToolSpec, clause: str) -> bool:
    """The clause begins with a word of its name: `echo its text`."""
    first = words(clause)[:1]
    return bool(first) and first[0] in words(spec.name)
