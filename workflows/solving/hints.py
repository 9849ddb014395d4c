"""What the words of a request alone tell a draft that stands alone: a tool in the place of one that its clause or its value
is not about, and a step for a clause or a value that no step is for."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from workflows.catalog import Catalog
from workflows.grounding import Request
from workflows.solving.align import said_values
from workflows.solving.coverage import ABOUT, called_so, decided, undone_by
from workflows.solving.drafts import Draft, DraftStep, all_slots
from workflows.solving.naming import NEAR
from workflows.solving.placeholders import slot_of
from workflows.tool_search import asks, clause_spans, clauses, relevance

_ID = re.compile(r"[A-Za-z_]+\d+")
_FILE = re.compile(r".*\.\w{1,8}")


def hinted(
    draft: Draft,
    catalog: Catalog,
    request: Request,
    named: Collection[str] = (),
    gone: Collection[str] = (),
) -> tuple[Draft, tuple[str, ...]]:
    """The draft, and what was done to it, in lines; each is a guess. `named`: tools that its writer named, which may be put
    in for a clause also where they change something. `gone`: steps that were taken out of it; no lookup is made up for
    them."""
    if draft.steps and not any(step.arguments for step in draft.steps):
        return draft, ()  # prose that names tools names them all
    hints = _Hints(draft, catalog, request)
    hints.by_value()
    hints.by_clause(named)
    hints.by_reader(gone)
    return replace(draft, steps=tuple(hints.steps)), tuple(hints.told)


class _Hints:
    def __init__(self, draft: Draft, catalog: Catalog, request: Request) -> None:
        self.steps, self.told = list(draft.steps), list[str]()
        self._catalog, self._request, self._draft = catalog, request, draft

    def by_value(self) -> None:
        """The verb of its clause and the words before a value are clearly about one tool."""
        asked = list(self._asked())
        for value, tool, unlike in asked:
            for place, step in enumerate(self.steps):
                if value in said_values(step, self._request) and step.tool in unlike:
                    self._swap(place, tool, value)
        for value, tool, _ in asked:
            if not any(self._takes(step, tool, value) for step in self.steps):
                self._put_in(self._place(self._request.place(value)), tool, value)

    def by_clause(self, named: Collection[str]) -> None:
        for clause, tool in undone_by(
            [step.tool for step in self.steps], self._catalog, self._request, named
        ):
            place = self._misplaced(clause)
            if place is not None:
                self._swap(place, tool, clause)
            elif tool in named or self._reads_or_is_asked_for(tool, clause):
                self._put_in(self._place(self._request.text.find(clause)), tool, clause)

    def by_reader(self, gone: Collection[str]) -> None:
        """A step that a draft reads and does not have is one that was put in before, or it looks something up for what
        nobody takes."""
        known = {step.id for step in self._draft.steps}
        for source in dict.fromkeys(slot.source for slot in all_slots(self._draft)):
            if source is None or source in known or not _ID.fullmatch(source):
                continue
            readers = [place for place, step in enumerate(self.steps) if _reads(step, source)]
            before = readers[0] if readers else len(self.steps)
            made = [place for place, step in enumerate(self.steps[:before]) if step.id not in known]
            if made:
                self.steps[made[-1]] = replace(self.steps[made[-1]], id=source)
            elif source not in gone and (tool := self._lookup()) is not None:
                self._put_in(before, tool, source, source)
            known.add(source)

    def _reads_or_is_asked_for(self, tool: str, clause: str) -> bool:
        spec = self._catalog.tools[tool]
        return spec.effect == "read" or called_so(spec, clause)

    def _lookup(self) -> str | None:
        """What looks up the most that no step does."""
        text, called = self._request.text, {step.tool for step in self.steps}
        taken = {value for step in self.steps for value in said_values(step, self._request)}
        left = [str(value) for value in self._request.marked if str(value) not in taken]
        phrases = [_phrase(value, self._request.place(value), self._request) for value in left]
        for parts in (phrases, list(filter(asks, clauses(text)))):
            found = [
                (score, tool)
                for part in parts
                for tool, score in relevance(self._catalog, part).items()
                if self._catalog.tools[tool].effect == "read" and tool not in called
            ]
            if found:
                return max(found)[1]
        return None

    def _asked(self) -> Iterator[tuple[str, str, frozenset[str]]]:
        """Values that the request names, in its order, each with the tool that it is clearly for, and those that it is not
        for."""
        request = self._request
        for value in sorted(map(str, request.marked), key=request.place):
            place = request.place(value)
            about = relevance(self._catalog, _phrase(value, place, request)) if place >= 0 else {}
            best = decided(about, self._catalog)
            if best is not None:
                few = (spec.key for spec in self._catalog if about.get(spec.key, 0.0) < about[best] * ABOUT)
                yield value, best, frozenset(few)

    def _takes(self, step: DraftStep, tool: str, value: str) -> bool:
        """Or has a place for it."""
        spec = self._catalog.get(step.tool)
        free = spec is not None and any(name not in step.arguments for name in spec.required)
        return value in said_values(step, self._request) or (step.tool == tool and free)

    def _misplaced(self, clause: str) -> int | None:
        """The last step that takes what the clause names and whose tool is less about it than about nothing."""
        about = relevance(self._catalog, clause)
        best = max(about.values())
        found = [
            index
            for index, step in enumerate(self.steps)
            if about.get(step.tool, 0.0) < best * ABOUT
            and any(value in clause for value in said_values(step, self._request))
        ]
        return found[-1] if found else None

    def _place(self, start: int) -> int:
        """Behind the last step that takes what stands before, else in front of the first one that takes what does not."""
        before, behind = list[int](), list[int]()
        for index, step in enumerate(self.steps):
            places = [self._request.place(value) for value in said_values(step, self._request)]
            before += [index] * any(0 <= place < start for place in places)
            behind += [index] * any(place >= start for place in places)
        return before[-1] + 1 if before else min(behind, default=0 if start == 0 else len(self.steps))

    def _swap(self, place: int, tool: str, why: str) -> None:
        self.told.append(f"{tool} instead of {self.steps[place].tool} for: {why}")
        self.steps[place] = replace(self.steps[place], tool=tool)

    def _put_in(self, place: int, tool: str, why: str, name: str | None = None) -> None:
        self.told.append(f"a step for: {why}")
        self.steps.insert(place, DraftStep(name or f"hint{len(self.told)}", tool))


def _phrase(value: str, place: int, request: Request) -> str:
    """The verb of its clause, the words before it, and `file` where it is one."""
    start = max((start for start, _ in clause_spans(request.text) if start <= place), default=0)
    verb = re.search(r"\w+", request.text[start:place])
    words = [verb[0]] if verb else []
    words += request.before(place)[:NEAR]
    return " ".join([*words, "file"] if _FILE.fullmatch(value) else words)


def _reads(step: DraftStep, source: str) -> bool:
    return any(slot.source == source for value in step.arguments.values() if (slot := slot_of(value)))
