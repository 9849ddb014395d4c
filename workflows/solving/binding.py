"""What each step takes: what most drafts say, of what can be meant; else what the request and the results offer."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from workflows.catalog import ToolSpec
from workflows.graph import Call, Literal, Ref
from workflows.grounding import Request
from workflows.plan import REFERENCE
from workflows.repairs import swap
from workflows.solving.chosen import Chain, Chosen, written
from workflows.solving.fields import Field, fields
from workflows.solving.naming import CALLED, Named, named
from workflows.solving.placeholders import WHOLE, Slot, slot_of
from workflows.solving.values import fitting, key
from workflows.tool_search import words
from workflows.types import Schema, at_path, property_schema

CLEAR = 0.4
"""By so much the likeliest field has to be ahead of the next, not to be a guess."""
PATHS = frozenset(words("path file source destination uri directory folder"))
MOST_FIELDS = 4
SAID, MEANT, GUESSED, MADE_UP = 3, 2, 1, 0
"""Ranks: a literal that is said, or a reference that leads somewhere; made from one that nearly does; from what is left;
nobody knows from what."""
Refused = frozenset[tuple[str, str, str]]


class Value(NamedTuple):
    value: Any
    rank: int


class Bound(NamedTuple):
    arguments: Mapping[str, Any]
    guessed: frozenset[str]
    doubts: tuple[str, ...]


class Binder:
    def __init__(self, chain: Chain, request: Request, refused: Refused) -> None:
        self._chain, self._request, self._refused = chain, request, refused
        self._used: set[str] = set()
        """References and values that some step takes."""
        self._same: dict[tuple[str, str], tuple[str, Any]] = {}
        """By server and name: what another tool's argument of that name is."""
        self._made: set[tuple[str, str]] = set()
        """Step and name of what was guessed."""

    def bind(self) -> dict[str, Bound]:
        """By step. First what is said, then paths, so that what is guessed of the others can be what is left."""
        said = {step.id: self._said(step, step.spec) for step in self._chain.steps if step.spec is not None}
        for step in self._chain.steps:
            for name, best in said.get(step.id, {}).items():
                if best is not None and best.rank > MADE_UP:
                    self._used.add(key(best.value))
                    self._same.setdefault((step.tool.partition("/")[0], name), (step.tool, best.value))
        for paths in (True, False):
            for step in self._chain.steps:
                if step.spec is not None:
                    self._complete(step, step.spec, said[step.id], paths)
        return {step.id: self._bound(step, said.get(step.id, {})) for step in self._chain.steps}

    def _complete(self, step: Chosen, spec: ToolSpec, said: dict[str, Value | None], paths: bool) -> None:
        """What is required and nobody says is guessed."""
        for name in spec.required:
            value = said.get(name)
            if _takes_path(name) != paths or (value is not None and value.rank >= MEANT):
                continue
            here = {other: one.value for other, one in said.items() if one is not None and other != name}
            guess = self._guessed(step, name, spec, here)
            said[name] = max(filter(None, (value, guess)), key=lambda one: one.rank, default=None)
            self._made.add((step.id, name))
            if (made := said[name]) is not None:
                self._used.add(key(made.value))

    def _bound(self, step: Chosen, said: Mapping[str, Value | None]) -> Bound:
        if step.spec is None:
            return Bound(dict(next(iter(step.column.cells.values())).arguments), frozenset(), ())
        required = step.spec.required
        kept = {
            name: value
            for name, value in said.items()
            if value is not None and (value.rank > MADE_UP or name in required)
        }
        unsure = [name for name in required if name not in kept]
        unsure += [name for name, value in kept.items() if value.rank < MEANT]
        return Bound(
            {name: value.value for name, value in kept.items()},
            frozenset(name for name in kept if (step.id, name) in self._made),
            tuple(f"{step.id}.{name}: nobody says it" for name in unsure),
        )

    # what the drafts say

    def _said(self, step: Chosen, spec: ToolSpec) -> dict[str, Value | None]:
        """By the tool's own names; None where they differ in what they make up."""
        offered: dict[str, list[Value]] = {}
        for number, cell in step.column.cells.items():
            call = Call(spec.key, {name: _argument(value) for name, value in cell.arguments.items()})
            for name, called in swap("", "", call, spec).renamed:
                if cell.tool == step.tool or name == called:
                    schema = property_schema(spec.input_schema, called) or {}
                    value = self._valued(cell.arguments[name], number, step, schema)
                    offered.setdefault(called, []).append(value)
        return {name: self._best(step, name, values) for name, values in offered.items()}

    def _valued(self, value: Any, number: int, step: Chosen, schema: Schema) -> Value:
        slot = slot_of(value)
        if slot is not None:
            return self._referred(slot, number, step, schema) or Value(value, MADE_UP)
        ready = fitting(value, schema)
        return Value(value, MADE_UP) if ready is None or not self._request.says(value) else Value(ready, SAID)

    def _referred(self, slot: Slot, number: int, reader: Chosen, wanted: Schema) -> Value | None:
        source = self._chain.named(slot.source, number)
        if slot.source is None and slot.path:
            source = self._holder(slot.path, reader)
        if source is None or source is reader:
            return None
        whole = slot.path[-1:] and slot.path[-1].lower() in WHOLE and not self._chain.given(source)
        if slot.sure and self._chain.leads(source, slot.path) and not whole:
            return Value(written(source, slot.path), SAID)
        tail = () if slot.path[-1:] and slot.path[-1].lower() in WHOLE else self._chain.whole(slot.path)
        near = fields(self._chain.given(source), wanted, self._request.text, tail)
        return Value(written(source, near[0].path), MEANT if _clear(near) else GUESSED) if near else None

    def _holder(self, path: Sequence[str], reader: Chosen) -> Chosen | None:
        """The step before whose result is known to have such a field; of several the nearest."""
        before = self._chain.steps[: self._chain.place(reader)]
        return next(
            (step for step in reversed(before) if at_path(self._chain.given(step), tuple(path))), None
        )

    def _best(self, step: Chosen, name: str, values: list[Value]) -> Value | None:
        """What most say, of the best rank; what all make up alike is the last resort."""
        votes = Counter(key(value.value) for value in values)
        kept = [one for one in values if (step.tool, name, key(one.value)) not in self._refused] or values
        best = max(kept, key=lambda one: (one.rank, votes[key(one.value)], key(one.value)))
        alike = votes[key(best.value)] > 1
        if best.rank == MADE_UP:
            return best if alike else None
        return best._replace(rank=MEANT) if best.rank == GUESSED and alike else best

    # what nobody says

    def _guessed(self, step: Chosen, name: str, spec: ToolSpec, here: Mapping[str, Any]) -> Value | None:
        """The likeliest with which the tool did not fail yet."""
        wanted = property_schema(spec.input_schema, name) or {}
        for value in self._guesses(step, name, wanted, here):
            if (step.tool, name, key(value.value)) not in self._refused and value.value not in here.values():
                return value
        return None

    def _guesses(self, step: Chosen, name: str, wanted: Schema, here: Mapping[str, Any]) -> Iterator[Value]:
        """A default; a value of the request that is called so; what drafts gave another tool in this place; what goes by
        that name with another tool; a path for a path; a result that nobody takes yet; a value that is left."""
        if "default" in wanted:
            yield Value(wanted["default"], MEANT)
        path, called = _takes_path(name), self._named(step, name, wanted, here)
        yield from (Value(one.value, MEANT) for one in called if one.score >= CALLED)
        others = [
            one for one in self._misplaced(step, wanted) if key(one.value) not in map(key, here.values())
        ]
        suited = [one for one in others if _is_path(one.value) == path]
        yield from (one._replace(rank=MEANT if len(suited) == 1 else GUESSED) for one in suited)
        tool, value = self._same.get((step.tool.partition("/")[0], name), (step.tool, None))
        if tool != step.tool and fitting(value, wanted) is not None:
            yield Value(value, MEANT)
        if path:
            yield from (Value(one.value, GUESSED) for one in called if not one.used and _is_path(one.value))
        results = sorted(self._results(step, wanted), key=lambda one: one[0])
        clear = len(results) == 1 or (bool(results) and results[0][0][:3] < results[1][0][:3])
        ways = [
            Value(way, MEANT if clear and index == 0 else GUESSED) for index, (_, way) in enumerate(results)
        ]
        looked = sum(not rank[0] for rank, _ in results)
        yield from ways[:looked]
        yield from (Value(one.value, GUESSED) for one in called)
        yield from ways[looked:]

    def _misplaced(self, step: Chosen, wanted: Schema) -> Iterator[Value]:
        """What drafts that call another tool in this place give it."""
        for number, cell in step.column.cells.items():
            for value in cell.arguments.values() if cell.tool != step.tool else ():
                found = self._valued(value, number, step, wanted)
                if found.rank > MADE_UP:
                    yield found

    def _named(self, step: Chosen, name: str, wanted: Schema, here: Mapping[str, Any]) -> list[Named]:
        """A path may be called by what the tool's name ends with, too."""
        told = {value for values in step.column.tells.values() for value in values} | {
            str(one) for one in here.values()
        }
        places = [place for value in told if (place := self._request.place(value)) >= 0]
        thing = (words(step.tool.partition("/")[2]) or [""])[-1] if _takes_path(name) else ""
        return named(name, thing, wanted, self._request, frozenset(self._used), places)

    def _results(self, reader: Chosen, wanted: Schema) -> Iterator[tuple[tuple[float, ...], str]]:
        """Of the steps before, with a rank: lookups first, then what nobody takes, then by field, then the nearest."""
        place = self._chain.place(reader)
        for index, step in enumerate(self._chain.steps[:place]):
            taken = any(one.startswith(f'"{{{step.id}') for one in self._used)
            for field in fields(self._chain.given(step), wanted, self._request.text)[:MOST_FIELDS]:
                rank = (float(step.changes), float(taken), -round(field.score, 2), float(-index))
                yield rank, written(step, field.path)


def _takes_path(name: str) -> bool:
    return bool(PATHS & set(words(name)))


def _is_path(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return all(
        isinstance(text, str) and bool(re.fullmatch(r"[^\s{}<>]*[./][^\s{}<>]+", text)) for text in texts
    )


def _clear(near: list[Field]) -> bool:
    return len(near) == 1 or near[0].score - near[1].score >= CLEAR


def _argument(value: Any) -> Ref | Literal:
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return Ref(found[1]) if found else Literal(value)
