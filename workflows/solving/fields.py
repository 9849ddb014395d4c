"""Which part of a result is meant, where the words of a request, a name or a half-remembered path tell of it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from workflows.reach import reachable
from workflows.tool_search import words
from workflows.types import ALL, Schema, allowed, at_path, followed, misfit

ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}
NAMED, TAIL, DEEP = 1.0, 2.0, 0.05


class Field(NamedTuple):
    path: tuple[str, ...]
    score: float


def fields(schema: Schema, wanted: Schema, text: str, tail: Sequence[str] = ()) -> list[Field]:
    """Ways into a result that fit what is taken, the likeliest first. `text`: of the request; `tail`: the end of the path,
    as far as somebody wrote it."""
    said = set(words(text))
    if not followed(schema) and tail:
        return [Field(tuple(tail), TAIL)]  # nobody knows what is in there
    ways = [(), *(tuple(way.split(".")) for way in reachable(schema))]
    found = []
    for way in ways:
        inner = at_path(schema, way)
        if inner is None or (way and allowed(inner) == ALL) or misfit(inner, wanted) is not None:
            continue
        names = [part for part in way if not part.isdigit()]
        score = NAMED * _share(names[-1:], said) + _share(names[:-1], said) / 4 - DEEP * len(way)
        score += TAIL * _ends(way, tail)
        found.append(Field(_counted(way, text, tail), score))
    return sorted(found, key=lambda one: (-one.score, one.path))


def _share(names: Sequence[str], said: set[str]) -> float:
    """Of the words of these names that the text says."""
    asked = [word for name in names for word in words(name)]
    return sum(word in said for word in asked) / len(asked) if asked else 0.0


def _ends(way: tuple[str, ...], tail: Sequence[str]) -> bool:
    """With the tail, where numbers are alike."""
    if not tail or len(tail) > len(way):
        return False
    pairs = zip(way[-len(tail) :], tail, strict=True)
    return all(one == other or (one.isdigit() and other.isdigit()) for one, other in pairs)


def _counted(way: tuple[str, ...], text: str, tail: Sequence[str]) -> tuple[str, ...]:
    """The last item that a way counts is the one that the tail or the text counts: the second observation."""
    places = [index for index, part in enumerate(way) if part.isdigit()]
    if not places:
        return way
    number = next((part for part in reversed(tail) if part.isdigit()), None)
    name = way[places[-1] - 1] if places[-1] else ""
    if number is None:
        stems = set(words(name))
        for match in re.finditer(rf"\b({'|'.join(ORDINALS)}) (\w+)", text.lower()):
            if stems & set(words(match[2])):
                number = str(ORDINALS[match[1]])
    return (*way[: places[-1]], number, *way[places[-1] + 1 :]) if number is not None else way
