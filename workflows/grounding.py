"""Where a workflow's literals come from: what its request says, or nowhere. A value that nobody gave was made up by
whoever planned."""

import re
from collections.abc import Iterator

from workflows.catalog import Catalog
from workflows.check import Problem
from workflows.graph import Literal, Workflow, calls
from workflows.types import named_types, property_schema

SHORTEST = 2
"""Shorter words are in any request by chance, as a part of others."""
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^']+)'|`([^`]+)`")
_TOKEN = re.compile(r"[\w./:@+-]*\w")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Request:
    """What a request says. A word of it that no tool's description has is its own: a text with one of them was not made
    up."""

    def __init__(self, text: str, catalog: Catalog) -> None:
        self.values = literals(text)
        self._plain = _plain(text)
        known = {word for spec in catalog for word in _plain(f"{spec.key} {spec.description}").split()}
        self._words = frozenset(self._plain.split())
        self._own = self._words - known

    def _has(self, word: str) -> bool:
        return word in self._plain if len(word) >= SHORTEST else word in self._words

    def says(self, value: object) -> bool:
        """Every word of a text or one of the request's own, every item of a list. What says little, as true or null,
        counts as said."""
        if isinstance(value, str):
            words = _plain(value).split()
            every = all(self._has(word) for word in words)
            return every or any(word in self._own for word in words)
        if isinstance(value, bool) or value is None:
            return True
        if isinstance(value, int | float):
            return f"{value:g}" in self._plain
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return all(self.says(part) for part in parts)


def ungrounded(workflow: Workflow, catalog: Catalog, request: Request) -> Iterator[Problem]:
    """Arguments of calls whose literal is a text or number that neither the request says nor the tool's schema lists."""
    for node in workflow.nodes:
        for place, call in calls(node):
            spec = catalog.get(call.tool)
            for name, argument in sorted(call.arguments.items()):
                if not isinstance(argument, Literal) or spec is None:
                    continue
                schema = property_schema(spec.input_schema, name) or {}
                listed = "enum" in schema or "const" in schema or argument.value == schema.get("default", ...)
                if listed or request.says(argument.value):
                    continue
                where = f"{place}.arguments.{name}" if place else f"arguments.{name}"
                expected = f"{named_types(schema)} that the request says, or a result"
                yield Problem("ungrounded", node.id, where, expected, repr(argument.value)[:80])


def literals(request: str) -> list[object]:
    """Values that a request names: what it quotes, what follows a colon to the end of the sentence, numbers, and words
    that are no plain words (paths, names with digits or signs)."""
    found: list[object] = [next(filter(None, groups)) for groups in _QUOTED.findall(request)]
    found += [tail.strip() for tail in re.findall(r": ([^:]+?)\.?$", request.strip())]
    found += [token for token in _TOKEN.findall(request) if re.search(r"[./\d_@-]", token)]
    found += re.findall(r"(?<=[a-z,] )[A-Z]\w*", request)
    found += [float(text) if "." in text else int(text) for text in _NUMBER.findall(request)]
    return list({repr(value): value for value in found}.values())


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w./:@+-]*\w", text.lower()))
