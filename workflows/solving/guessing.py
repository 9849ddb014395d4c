"""What a step takes that no draft says: what the request calls so, what results offer, what is left."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from workflows.catalog import ToolSpec
from workflows.grounding import Request
from workflows.solving.chosen import Chain, Chosen, written
from workflows.solving.fields import fields
from workflows.solving.homes import Span, homes
from workflows.solving.kinds import is_path, takes_path, thing
from workflows.solving.naming import CALLED, Named, named
from workflows.solving.nested import nested
from workflows.solving.refusals import Refused, argument
from workflows.solving.values import GUESSED, MEANT, Value, fitting, key
from workflows.tool_search import clause_spans
from workflows.types import Schema, property_schema

MOST_FIELDS = 4


class Guesser:
    """It is told of everything that a step takes, so that it offers what is left."""

    def __init__(self, chain: Chain, request: Request, refused: Refused) -> None:
        self._chain, self._request, self._refused = chain, request, refused
        self._used: set[str] = set()
        """References and values that some step takes."""
        self._same: dict[tuple[str, str], tuple[str, Any]] = {}
        """By server and name: what another tool's argument of that name is."""
        spans = homes([step.tool for step in chain.steps], chain.catalog, request.text)
        self._homes = dict(zip((step.id for step in chain.steps), spans, strict=True))

    def taken(self, step: Chosen, name: str, value: Value) -> None:
        self._used |= {key(value.value), *(map(key, value.value) if isinstance(value.value, list) else ())}
        if value.rank >= MEANT:
            self._same.setdefault(_slot(step, name), (step.tool, value.value))

    def clearest(
        self, step: Chosen, spec: ToolSpec, here: Mapping[str, Value], names: Iterable[str]
    ) -> tuple[str, Value] | None:
        """Of the arguments with these names the one that the request calls something by most clearly."""
        found = []
        for name in names:
            wanted = _wanted(spec, name)
            ways = () if "default" in wanted else self._named(step, name, wanted, here)
            free = (
                way
                for way in ways
                if way.score >= CALLED and not way.used and self._may_be(way.value, step, name, here)
            )
            found += [(way.score, name, way.value) for way in islice(free, 1)]
        if not found:
            return None
        _, name, value = max(found, key=lambda one: one[0])
        return name, Value(self._all_of(value, _wanted(spec, name)), MEANT)

    def guess(
        self, step: Chosen, spec: ToolSpec, name: str, here: Mapping[str, Value], misplaced: Iterable[Value]
    ) -> Value | None:
        """The likeliest with which the tool did not fail yet. `misplaced`: what drafts gave another tool in this place."""
        wanted = _wanted(spec, name)
        for found in self._guesses(step, name, wanted, here, misplaced):
            if self._may_be(found.value, step, name, here):
                return found._replace(value=self._all_of(found.value, wanted))
        return None

    def _may_be(self, value: Any, step: Chosen, name: str, here: Mapping[str, Value]) -> bool:
        refused = argument(step.tool, name, value) in self._refused
        return not refused and value not in [one.value for one in here.values()]

    def _guesses(
        self,
        step: Chosen,
        name: str,
        wanted: Schema,
        here: Mapping[str, Value],
        misplaced: Iterable[Value],
    ) -> Iterator[Value]:
        """A default; what is put together of values; a value of the request that is called so; what drafts gave another tool
        in this place; a path for a path; what goes by that name with another tool; a result that nobody takes yet; a value
        that is left; a path that is taken."""
        if "default" in wanted:
            yield Value(wanted["default"], MEANT)
        whole = nested(wanted, lambda part, schema: self._named(step, part, schema, here))
        if whole is not None:
            yield Value(whole, GUESSED)
        path, called = takes_path(name), self._named(step, name, wanted, here)
        yield from (Value(way.value, MEANT) for way in called if way.score >= CALLED)
        held = [key(one.value) for one in here.values()]
        suited = [one for one in misplaced if key(one.value) not in held and is_path(one.value) == path]
        yield from (one._replace(rank=MEANT if len(suited) == 1 else GUESSED) for one in suited)
        if path:
            yield from (Value(way.value, GUESSED) for way in called if not way.used and is_path(way.value))
        tool, value = self._same.get(_slot(step, name), (step.tool, None))
        if tool != step.tool and fitting(value, wanted) is not None:
            yield Value(value, MEANT)
        results = sorted(self._results(step, wanted), key=lambda one: one[0])
        clear = len(results) == 1 or (bool(results) and results[0][0][:4] < results[1][0][:4])
        ways = [
            Value(way, MEANT if clear and index == 0 else GUESSED) for index, (_, way) in enumerate(results)
        ]
        looked = sum(not rank[0] for rank, _ in results)
        yield from ways[:looked]
        yield from (Value(way.value, GUESSED) for way in called)
        yield from ways[looked:]
        if path:
            ready = (fitting(value, wanted) for value in self._request.marked)
            yield from (Value(one, GUESSED) for one in ready if one is not None)

    def _all_of(self, value: Any, wanted: Schema) -> Any:
        """Of a list, with what the request names together with it."""
        if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], str):
            return value
        return fitting(self._request.together(value[0]), wanted) or value

    def _named(self, step: Chosen, name: str, wanted: Schema, here: Mapping[str, Value]) -> list[Named]:
        """A path may be called by what the tool's name ends with, too. What the step's own drafts took from the request is
        free for it."""
        held = {str(one.value) for one in here.values()}
        own = step.column.told - held
        places = [place for value in own | held if (place := self._request.place(value)) >= 0]
        home = None if places else self._homes[step.id]
        used = self._used - {key(value) for value in own}
        things = thing(step.tool) if takes_path(name) else ""
        return named(name, things, wanted, self._request, used, places or [self._homes[step.id][0]], home)

    def _results(self, reader: Chosen, wanted: Schema) -> Iterator[tuple[tuple[float, ...], str]]:
        """Of the steps before, with a rank: lookups first, then what nobody takes, then those for what stands before in the
        request, then by field, then the nearest."""
        place, (start, end) = self._chain.place(reader), self._span(reader)
        for index, step in enumerate(self._chain.steps[:place]):
            taken = any(one.startswith(f'"{{{step.id}') for one in self._used)
            later = self._span(step)[0] > start
            offered = fields(self._chain.given(step), wanted, self._request.text[start:end])
            for field in offered[:MOST_FIELDS]:
                rank = float(step.changes), float(taken), float(later), -round(field.score, 2), float(-index)
                yield rank, written(step, field.path)

    def _span(self, step: Chosen) -> Span:
        """The last clause that names what it takes, else the one that it is about."""
        places = [place for value in step.column.told if (place := self._request.place(value)) >= 0]
        spans = clause_spans(self._request.text)
        told = [(start, end) for start, end in spans if any(start <= place < end for place in places)]
        return max(told, default=self._homes[step.id])


def _wanted(spec: ToolSpec, name: str) -> Schema:
    return property_schema(spec.input_schema, name) or {}


def _slot(step: Chosen, name: str) -> tuple[str, str]:
    return step.tool.partition("/")[0], name
