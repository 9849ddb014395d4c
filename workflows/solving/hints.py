"""What the words of a request alone tell a draft that stands alone: a tool in the place of one that its clause is not about,
and a lookup for a clause that nobody does. Nothing is changed for no more than a word."""

from dataclasses import replace

from workflows.catalog import Catalog
from workflows.grounding import Request
from workflows.solving.align import said_values
from workflows.solving.coverage import ABOUT, undone_by
from workflows.solving.drafts import Draft, DraftStep
from workflows.tool_search import relevance


def hinted(draft: Draft, catalog: Catalog, request: Request) -> tuple[Draft, tuple[str, ...]]:
    """The draft, and what was done to it, in lines; each is a guess."""
    steps, told = list(draft.steps), list[str]()
    if not any(step.arguments for step in steps):
        return draft, ()  # prose that names tools names them all
    for clause, tool in undone_by([step.tool for step in steps], catalog, request):
        place = _misplaced(steps, clause, catalog, request)
        if place is None and catalog.tools[tool].effect != "read":
            continue
        if place is None:
            steps.insert(_place(steps, clause, request), DraftStep(f"hint{len(told)}", tool))
            told.append(f"a step for: {clause}")
        else:
            told.append(f"{tool} instead of {steps[place].tool} for: {clause}")
            steps[place] = replace(steps[place], tool=tool)
    return replace(draft, steps=tuple(steps)), tuple(told)


def _misplaced(steps: list[DraftStep], clause: str, catalog: Catalog, request: Request) -> int | None:
    """The last step that takes what the clause names and whose tool is less about it than about nothing."""
    about = relevance(catalog, clause)
    best = max(about.values())
    found = [
        index
        for index, step in enumerate(steps)
        if about.get(step.tool, 0.0) < best * ABOUT
        and any(value in clause for value in said_values(step, request))
    ]
    return found[-1] if found else None


def _place(steps: list[DraftStep], clause: str, request: Request) -> int:
    """Behind the last step that takes what stands before the clause."""
    start = request.text.find(clause)
    before = [
        index
        for index, step in enumerate(steps)
        if any(0 <= request.place(value) < start for value in said_values(step, request))
    ]
    return before[-1] + 1 if before else 0 if start == 0 else len(steps)
