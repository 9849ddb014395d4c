"""One plan from several drafts: what most of them say, of what can be meant.

The drafts of one planner err independently; where two say the same, it is hardly by mistake (self-consistency, Wang et al.
2022, here step by step and argument by argument instead of answer by answer).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from workflows.catalog import Catalog
from workflows.grounding import Request
from workflows.solving.align import Column, align, said_values
from workflows.solving.answer import answer
from workflows.solving.binding import Binder, Refused
from workflows.solving.chosen import Chain, Chosen
from workflows.solving.drafts import Draft, DraftStep, all_slots, known_sources
from workflows.solving.hints import hinted
from workflows.solving.placeholders import slot_of
from workflows.solving.values import key
from workflows.tool_search import relevance_by_clause, words

ABOUT = 0.65
"""Of a tool that is less about the request one draft's word is not enough."""
HALF = 0.5


class Agreed(NamedTuple):
    plan: Mapping[str, Any]
    doubts: tuple[str, ...]
    """What nobody but one draft says, or none: reasons to ask for another."""
    guessed: Refused
    """Tool, argument and value, as JSON, of what no draft says."""


def agree(
    drafts: Sequence[Draft], catalog: Catalog, request: Request, refused: Refused = frozenset()
) -> Agreed:
    """There has to be at least one draft. `refused`: arguments with which a tool failed, that nobody said."""
    based = [_based(known_sources(_known_tools(draft, catalog)), request) for draft in drafts]
    hints: tuple[str, ...] = ()
    if len(drafts) == 1:
        based[0], hints = hinted(based[0], catalog, request)
    about = relevance_by_clause(catalog, request.text)
    steps, doubts = _steps(based, catalog, request, about)
    doubts += hints
    if not any(step.arguments for draft in based for step in draft.steps):
        doubts.append("no draft tells what its steps take")
    if len(drafts) == 1 and len(based[0].steps) < len(drafts[0].steps):
        kept = {step.id for step in based[0].steps}
        gone = [step.tool for step in drafts[0].steps if step.id not in kept]
        doubts += [f"{tool}: left out" for tool in gone if about.get(tool, 0.0) >= ABOUT]
    chain = Chain(steps, based, catalog)
    bound = Binder(chain, request, refused).bind()
    made = [
        {
            "id": step.id,
            "tool": step.tool,
            "arguments": bound[step.id].arguments,
            "after": _waits(step, steps),
        }
        for step in steps
    ]
    held = [value for one in bound.values() for value in one.arguments.values()]
    taken = frozenset(value for value in held if slot_of(value) and isinstance(value, str))
    text = answer(based, chain, request.text, taken)
    more = [doubt for one in bound.values() for doubt in one.doubts]
    guessed = frozenset(
        (step.tool, name, key(value))
        for step in steps
        for name, value in bound[step.id].arguments.items()
        if name in bound[step.id].guessed
    )
    return Agreed({"steps": made, "answer": text.text}, (*doubts, *more, *text.doubts), guessed)


def _steps(
    drafts: Sequence[Draft], catalog: Catalog, request: Request, about: Mapping[str, float]
) -> tuple[list[Chosen], list[str]]:
    columns = align(drafts, request)
    shares = [_share(place, columns, drafts) for place in range(len(columns))]
    told = {
        value
        for column, share in zip(columns, shares, strict=True)
        if share >= HALF
        for value in _told(column, request)
    }
    steps, doubts = list[Chosen](), list[str]()
    for column, share in zip(columns, shares, strict=True):
        adds = bool(_told(column, request) - told)
        if share < HALF or (share == HALF and not (adds or len(column.cells) > 1)):
            doubts.append(f"only {len(column.cells)} of {len(drafts)} drafts have {_first(column).tool}")
            continue
        tool, votes = _tool(column, catalog, about, request)
        step = Chosen(f"s{len(steps) + 1}", column, tool, catalog.get(tool))
        steps.append(step)
        if step.spec is None:
            doubts.append(f"{step.id}: no tool {tool}")
        elif votes < 2 and (len(drafts) > 1 or about.get(tool, 0.0) < ABOUT):
            doubts.append(f"{step.id}: only one draft says {tool}")
    return steps, doubts if steps else ["no steps"]


def _share(place: int, columns: Sequence[Column], drafts: Sequence[Draft]) -> float:
    """Of the drafts that have come as far, those that have it."""
    could = 0
    for number, draft in enumerate(drafts):
        reached = max((index for index, other in enumerate(columns) if number in other.cells), default=-1)
        could += (draft.whole and bool(draft.steps)) or reached >= place
    return len(columns[place].cells) / max(could, 1)


def _based(draft: Draft, request: Request) -> Draft:
    """Without the steps that nothing speaks for: of their arguments none comes from the request or another step, and
    nobody takes their result."""
    read = {slot.source for slot in all_slots(draft)}
    kept = [
        step
        for step in draft.steps
        if not step.arguments
        or step.id in read
        or any(slot_of(value) for value in step.arguments.values())
        or said_values(step, request)
    ]
    return replace(draft, steps=tuple(kept))


def _tool(column: Column, catalog: Catalog, about: Mapping[str, float], request: Request) -> tuple[str, int]:
    """With its votes. One whose arguments fit it counts more."""
    known = [cell for cell in column.cells.values() if catalog.get(cell.tool)]
    if not known:
        return _first(column).tool, 0
    votes = Counter(cell.tool for cell in known)
    weight = {tool: about.get(tool, 0.0) for tool in votes}
    for cell in known:
        weight[cell.tool] += 0.5 + 0.5 * _fit(cell, catalog, request)
    best = max(weight, key=lambda tool: (round(weight[tool], 6), tool))
    return best, votes[best]


def _fit(cell: DraftStep, catalog: Catalog, request: Request) -> float:
    """The part of what the tool requires that the call has, under names that the tool has."""
    spec = catalog.tools[cell.tool]
    if not cell.arguments or not spec.required:
        return 1.0
    here = [name for name in spec.required if name in cell.arguments]
    based = [name for name in here if slot_of(cell.arguments[name]) or request.says(cell.arguments[name])]
    return len(based) / len(spec.required)


def _waits(step: Chosen, steps: Sequence[Chosen]) -> list[str]:
    """For the steps before it that any draft says it comes after. Steps are written in the order in which they are meant:
    one that is to come after a later one was mixed up."""
    found = []
    for other in steps:
        if other is step:
            break
        both = step.column.cells.keys() & other.column.cells.keys()
        if any(other.column.cells[one].id in step.column.cells[one].after for one in both):
            found.append(other.id)
    return found


def _known_tools(draft: Draft, catalog: Catalog) -> Draft:
    """With the catalog's names of its tools, where the words leave no doubt."""

    def known(step: DraftStep) -> DraftStep:
        if catalog.get(step.tool):
            return step
        tail = words(step.tool.rpartition("/")[2])
        same = [spec.key for spec in catalog if words(spec.name) == tail]
        return replace(step, tool=same[0]) if len(same) == 1 else step

    return replace(draft, steps=tuple(known(step) for step in draft.steps))


def _told(column: Column, request: Request) -> frozenset[str]:
    return frozenset().union(*(said_values(cell, request) for cell in column.cells.values()))


def _first(column: Column) -> DraftStep:
    return next(iter(column.cells.values()))
