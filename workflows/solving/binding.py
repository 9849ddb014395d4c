"""What each step takes: what most drafts say, of what can be meant; else what the request and the results offer."""

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
from workflows.solving.guessing import Guesser
from workflows.solving.kinds import takes_path
from workflows.solving.placeholders import WHOLE, Slot, slot_of
from workflows.solving.refusals import Refused, argument
from workflows.solving.values import GUESSED, MADE_UP, MEANT, SAID, Value, fitting, key
from workflows.types import Schema, at_path, property_schema

CLEAR = 0.4
"""By so much the likeliest field has to be ahead of the next, not to be a guess."""


class Bound(NamedTuple):
    arguments: Mapping[str, Any]
    guessed: frozenset[str]
    doubts: tuple[str, ...]


class Binder:
    def __init__(self, chain: Chain, request: Request, refused: Refused) -> None:
        self._chain, self._request, self._refused = chain, request, refused
        self._guesser = Guesser(chain, request, refused)
        self._made: set[tuple[str, str]] = set()
        """Step and name of what was guessed."""

    def bind(self) -> dict[str, Bound]:
        """By step. First what is said, then what the request calls by an argument's name, then paths, so that what is
        guessed of the others can be what is left."""
        calls = [(step, step.spec) for step in self._chain.steps if step.spec is not None]
        said = {step.id: self._said(step, spec) for step, spec in calls}
        for step, _ in calls:
            for name, best in said[step.id].items():
                if best is not None and best.rank > MADE_UP:
                    self._guesser.taken(step, name, best)
        for step, spec in calls:
            self._called(step, spec, said[step.id])
        for paths in (True, False):
            for step, spec in calls:
                self._complete(step, spec, said[step.id], paths)
        return {step.id: self._bound(step, said.get(step.id, {})) for step in self._chain.steps}

    def _called(self, step: Chosen, spec: ToolSpec, said: dict[str, Value | None]) -> None:
        """What the request calls by an argument's name is that argument's, the clearest first."""
        while True:
            missing = [name for name in spec.required if _missing(said.get(name))]
            here = {name: value for name, value in said.items() if value is not None and name not in missing}
            found = self._guesser.clearest(step, spec, here, missing)
            if found is None:
                return
            self._make(step, found[0], found[1], said)

    def _complete(self, step: Chosen, spec: ToolSpec, said: dict[str, Value | None], paths: bool) -> None:
        """What is required and nobody says is guessed."""
        for name in spec.required:
            value = said.get(name)
            if takes_path(name) != paths or not _missing(value):
                continue
            here = {other: one for other, one in said.items() if one is not None and other != name}
            schema = property_schema(spec.input_schema, name) or {}
            guess = self._guesser.guess(step, spec, name, here, self._misplaced(step, schema))
            best = max(filter(None, (value, guess)), key=lambda one: one.rank, default=None)
            self._make(step, name, best, said)

    def _make(self, step: Chosen, name: str, value: Value | None, said: dict[str, Value | None]) -> None:
        said[name] = value
        self._made.add((step.id, name))
        if value is not None:
            self._guesser.taken(step, name, value)

    def _bound(self, step: Chosen, said: Mapping[str, Value | None]) -> Bound:
        if step.spec is None:
            return Bound(dict(step.column.first.arguments), frozenset(), ())
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
        kept = [one for one in values if argument(step.tool, name, one.value) not in self._refused]
        if not kept:
            return None
        best = max(kept, key=lambda one: (one.rank, votes[key(one.value)], key(one.value)))
        alike = votes[key(best.value)] > 1
        if best.rank == MADE_UP:
            return best if alike else None
        return best._replace(rank=MEANT) if best.rank == GUESSED and alike else best

    def _misplaced(self, step: Chosen, wanted: Schema) -> Iterator[Value]:
        """What drafts that call another tool in this place give it."""
        for number, cell in step.column.cells.items():
            for value in cell.arguments.values() if cell.tool != step.tool else ():
                found = self._valued(value, number, step, wanted)
                if found.rank > MADE_UP:
                    yield found


def _clear(near: list[Field]) -> bool:
    return len(near) == 1 or near[0].score - near[1].score >= CLEAR


def _missing(value: Value | None) -> bool:
    return value is None or value.rank < MEANT


def _argument(value: Any) -> Ref | Literal:
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return Ref(found[1]) if found else Literal(value)
