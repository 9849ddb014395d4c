"""What a planner wrote, read for all that can be made of it: a whole plan, half of one, or prose that names tools."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workflows.catalog import Catalog
from workflows.plan import MOST_STEPS
from workflows.planner import LONGEST_ANSWER, objects
from workflows.solving.placeholders import Slot, slot_of, slots

_STEPS = re.compile(r'"steps"\s*:\s*\[\s*')
_ANSWER = re.compile(r'"answer"\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class DraftStep:
    id: str
    tool: str
    """As it was written."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    steps: tuple[DraftStep, ...]
    answer: str | None = None
    whole: bool = True
    """It tells all steps that its writer thought of, if not always their arguments."""


def read_draft(text: str, catalog: Catalog) -> Draft:
    """Never fails: of what says nothing come no steps."""
    text = text[:LONGEST_ANSWER]
    for found in objects(text):
        if isinstance(found.get("steps"), list):
            answer = found.get("answer")
            return Draft(tuple(_steps(found["steps"])), answer if isinstance(answer, str) else None)
    head = _STEPS.search(text)
    if head is not None:
        answer = _ANSWER.search(text)
        steps = tuple(_steps(list(_begun(text, head.end()))))
        return Draft(steps, json.loads(answer[1], strict=False) if answer else None, whole=False)
    return Draft(tuple(_told(text, catalog)))


def known_sources(draft: Draft) -> Draft:
    """A reference to no step of the draft, such as `{target.datetime}`, is a placeholder: it may be the way into some
    result."""
    ids = {step.id for step in draft.steps}

    def known(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        strange = [slot for slot in slots(value) if slot.sure and slot.source not in ids]
        for slot in reversed(strange):
            value = f"{value[: slot.start]}[{value[slot.start + 1 : slot.end - 1]}]{value[slot.end :]}"
        return value

    steps = [
        replace(step, arguments={name: known(value) for name, value in step.arguments.items()})
        for step in draft.steps
    ]
    return replace(draft, steps=tuple(steps), answer=known(draft.answer))


def all_slots(draft: Draft) -> Iterator[Slot]:
    """Of arguments and of the answer."""
    for step in draft.steps:
        yield from (slot for value in step.arguments.values() if (slot := slot_of(value)))
    yield from slots(draft.answer or "")


def _steps(items: list[Any]) -> Iterator[DraftStep]:
    for number, item in enumerate(items[:MOST_STEPS], start=1):
        if not isinstance(item, dict):
            continue
        arguments, after = item.get("arguments"), item.get("after")
        yield DraftStep(
            id=str(item.get("id") or f"s{number}"),
            tool=str(item.get("tool", "")),
            arguments={str(name): value for name, value in arguments.items()}
            if isinstance(arguments, dict)
            else {},
            after=tuple(map(str, after)) if isinstance(after, list) else (),
        )


def _begun(text: str, end: int) -> Iterator[Any]:
    """The whole steps of half a plan."""
    decoder = json.JSONDecoder()
    while text[end : end + 1] == "{":
        try:
            step, end = decoder.raw_decode(text, end)
        except (ValueError, RecursionError):
            return
        yield step
        end += len(text[end:]) - len(text[end:].lstrip(" \n\t,"))


def _told(text: str, catalog: Catalog) -> Iterator[DraftStep]:
    """Tools in the order in which prose names them, with whatever stands between the words of a name. What changes
    something waits for what does so before."""
    found: list[tuple[int, int, str]] = []
    for spec in catalog:
        name = r"[\W_]?".join(map(re.escape, re.split(r"[_-]", spec.name)))
        found += [
            (one.start(), -one.end(), spec.key) for one in re.finditer(rf"\b{name}\b", text, re.IGNORECASE)
        ]
    over, changed = 0, tuple[str, ...]()
    for number, (start, end, key) in enumerate(sorted(found)):
        if start >= over:  # of names that begin alike, the longest
            changes = catalog.tools[key].effect != "read"
            yield DraftStep(f"told{number}", key, after=changed if changes else ())
            over, changed = -end, (f"told{number}",) if changes else changed
