"""What planners write where a result should stand: `[temperature]`, `<content of s1>`."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from workflows.plan import REFERENCE

_PLACEHOLDER = re.compile(r"\[([A-Za-z_][\w.]*)(?: of (\w+))?\]|<([A-Za-z_][\w.]*)(?: of (\w+))?>")
WHOLE = frozenset({"result", "output", "results", "value", "answer"})
"""Words for a result as a whole."""


class Slot(NamedTuple):
    """A place in a text for a result. `source` is None where it does not say which step's."""

    start: int
    end: int
    source: str | None
    path: tuple[str, ...]
    sure: bool
    """Written as a reference."""


def slots(text: str) -> list[Slot]:
    """References and placeholders, in order."""
    found = []
    for match in REFERENCE.finditer(text):
        source, *path = match[1].split(".")
        found.append(Slot(match.start(), match.end(), source, tuple(path), True))
    for match in _PLACEHOLDER.finditer(text):
        path, source = match[1] or match[3], match[2] or match[4]
        ways = () if path.lower() in WHOLE else tuple(path.split("."))
        found.append(Slot(match.start(), match.end(), source, ways, False))
    return sorted(found)


def slot_of(value: object) -> Slot | None:
    """Of a text that is one slot and nothing else, also alone in a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        return None
    found = slots(value)
    whole = len(found) == 1 and (found[0].start, found[0].end) == (0, len(value))
    return found[0] if whole else None


def without_slots(text: str, found: Sequence[Slot]) -> str:
    """Equal for texts that differ in nothing but what stands in their slots."""
    parts, end = [], 0
    for slot in found:
        parts.append(text[end : slot.start])
        end = slot.end
    return "\0".join([*parts, text[end:]])
