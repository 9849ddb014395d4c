"""One plan from several drafts: what most of them say, of what can be meant.

The drafts of one planner err independently; where two say the same, it is hardly by mistake (self-consistency, Wang et al.
2022, here step by step and argument by argument instead of answer by answer).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from workflows.catalog import Catalog
from workflows.grounding import Request
from workflows.solving.align import Column, align, said_values
from workflows.solving.answer import answer
from workflows.solving.binding import Binder
from workflows.solving.chosen import Chain, Chosen
from workflows.solving.drafts import Draft, DraftStep, all_slots, known_sources
from workflows.solving.hints import hinted
from workflows.solving.meant import meant
from workflows.solving.placeholders import slot_of
from workflows.solving.refusals import Refusal, Refused, tool_in_place
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
    chosen: Mapping[str, Refusal]
    """By step: what refuses its tool in its place."""


def agree(
    drafts: Sequence[Draft], catalog: Catalog, request: Request, refused: Refused = frozenset()
) -> Agreed:
    """There has to be at least one draft. `refused`: arguments with which a tool failed, that nobody said, and tools that
    failed in a place."""
    based = [_based(_known_tools(draft, catalog), request) for draft in drafts]
    hints: tuple[str, ...] = ()
    if len(drafts) == 1:
        based[0], hints = _alone(based[0], {step.tool for step in drafts[0].steps}, catalog, request, refused)
    based = [known_sources(draft) for draft in based]
    about = relevance_by_clause(catalog, request.text)
    steps, doubts = _steps(based, catalog, request, about, refused)
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
    chosen = {step.id: tool_in_place(step.tool, step.column.given) for step in steps}
    return Agreed({"steps": made, "answer": text.text}, (*doubts, *more, *text.doubts), guessed, chosen)


def _alone(
    draft: Draft, named: set[str], catalog: Catalog, request: Request, refused: Refused
) -> tuple[Draft, tuple[str, ...]]:
    """With its hints; without the steps whose tools failed, if the request then tells of others in their place."""
    failed = {
        step.id: step.tool for step in draft.steps if tool_in_place(step.tool, [step.arguments]) in refused
    }
    if failed:
        left = replace(draft, steps=tuple(step for step in draft.steps if step.id not in failed))
        others = {name: spec for name, spec in catalog.tools.items() if name not in failed.values()}
        other = hinted(left, replace(catalog, tools=others), request, named, failed)
        if len(other[0].steps) > len(left.steps):
            return other
    return hinted(draft, catalog, request, named)


def _steps(
    drafts: Sequence[Draft],
    catalog: Catalog,
    request: Request,
    about: Mapping[str, float],
    refused: Refused,
) -> tuple[list[Chosen], list[str]]:
    columns = align(drafts, request)
    shares = [_share(place, columns, drafts) for place in range(len(columns))]
    told = {
        value for column, share in zip(columns, shares, strict=True) if share >= HALF for value in column.told
    }
    steps, doubts = list[Chosen](), list[str]()
    for column, share in zip(columns, shares, strict=True):
        adds = bool(column.told - told)
        if share < HALF or (share == HALF and not (adds or len(column.cells) > 1)):
            doubts.append(f"only {len(column.cells)} of {len(drafts)} drafts have {column.first.tool}")
            continue
        tool, votes = meant(column, catalog, about, request, refused)
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
