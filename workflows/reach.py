"""The ways into a value that its schema tells of."""

from collections.abc import Iterator, Mapping

from workflows.types import Schema, allowed, followed, items_schema, property_schema

DEEPEST, MOST = 4, 64


def reachable(schema: Schema) -> list[str]:
    """Paths such as `rows.0.name`, the short ones first; of a list its first item."""
    found: list[str] = []
    level = [("", schema)]
    for _ in range(DEEPEST):
        level = [
            (f"{way}.{part}" if way else part, inner) for way, held in level for part, inner in _inner(held)
        ]
        found += [way for way, _ in level]
        if len(found) >= MOST:
            break
    return found[:MOST]


def _inner(schema: Schema) -> Iterator[tuple[str, Schema]]:
    schema = followed(schema)
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name in properties:
            if "." not in str(name):
                yield str(name), property_schema(schema, str(name)) or {}
    if "array" in allowed(schema) and isinstance(schema.get("items"), Mapping):
        yield "0", items_schema(schema)
