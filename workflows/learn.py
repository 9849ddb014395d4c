"""Types of results, learnt from results that were seen: the narrowest schema that all of them meet."""

from collections.abc import Mapping, Sequence
from itertools import islice

from workflows.types import Schema, type_of

MOST_PROPERTIES = 64
MOST_ITEMS = 200
DEEPEST = 8


def learn(known: Schema | None, value: object) -> Schema:
    """The schema that what is `known` meets, and `value`, too. None: nothing was seen before."""
    found = _schema(value, DEEPEST)
    return found if known is None else joined(known, found)


def joined(one: Schema, other: Schema) -> Schema:
    """The narrowest learnt schema that covers both. A property is required if both require it."""
    if one == other:
        return one
    kinds = sorted(_kinds(one) | _kinds(other))
    if not kinds:
        return {}
    schema: dict[str, object] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if "object" in kinds:
        schema |= _joined_objects([s for s in (one, other) if "object" in _kinds(s)])
    if "array" in kinds:
        items = [inner for s in (one, other) if isinstance(inner := s.get("items"), Mapping)]
        if items:
            schema["items"] = _all_joined(items)
    return schema


def _joined_objects(schemas: list[Schema]) -> dict[str, object]:
    tables = [properties for s in schemas if isinstance(properties := s.get("properties"), Mapping)]
    names = list(dict.fromkeys(name for table in tables for name in table))
    properties = {
        name: _all_joined([t[name] for t in tables if name in t]) for name in names[:MOST_PROPERTIES]
    }
    required = [name for name in properties if all(name in _required(schema) for schema in schemas)]
    closed = len(names) <= MOST_PROPERTIES and all("additionalProperties" not in s for s in schemas)
    more: dict[str, object] = {} if closed else {"additionalProperties": True}
    return {"properties": properties, "required": required, **more}


def _schema(value: object, depth: int) -> Schema:
    kind = type_of(value)
    if depth == 0:
        return {"type": kind}
    if isinstance(value, Mapping):
        shown = dict(islice(value.items(), MOST_PROPERTIES))
        properties = {str(name): _schema(inner, depth - 1) for name, inner in shown.items()}
        more = {"additionalProperties": True} if len(shown) < len(value) else {}
        return {"type": kind, "properties": properties, "required": list(properties), **more}
    if isinstance(value, list) and value:
        return {
            "type": kind,
            "items": _all_joined([_schema(inner, depth - 1) for inner in value[:MOST_ITEMS]]),
        }
    return {"type": kind}


def _all_joined(schemas: Sequence[Schema]) -> Schema:
    found = schemas[0]
    for schema in schemas[1:]:
        found = joined(found, schema)
    return found


def _kinds(schema: Schema) -> frozenset[str]:
    kind = schema.get("type")
    return frozenset(kind) if isinstance(kind, list) else frozenset({kind} if isinstance(kind, str) else ())


def _required(schema: Schema) -> frozenset[str]:
    found = schema.get("required")
    return frozenset(found) if isinstance(found, list) else frozenset()
