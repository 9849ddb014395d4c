"""The part of JSON Schema that ports need: which types a schema allows, the schema at a path, and whether what one port
gives is what another takes. A schema always carries the definitions that it may refer to, also a recursive one:
references are followed one step at a time."""

from collections.abc import Mapping
from itertools import islice

Schema = Mapping[str, object]
ALL = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
DEEPEST = 6
"""Levels that are compared; what is nested deeper is left to the tool."""
MOST_OPTIONS = 16
_SHARED = ("$defs", "definitions")


def followed(schema: Schema) -> Schema:
    """The schema that a local `$ref` leads to, with the definitions; `{}` where it leads nowhere or in a circle."""
    for _ in range(DEEPEST):
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            return schema
        found: object = schema
        for part in ref.removeprefix("#/").split("/") if ref.startswith("#/") else ["#"]:
            found = (
                found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
            )
        if not isinstance(found, Mapping):
            return {}
        schema = _with_shared(found, schema)
    return {}


def allowed(schema: Schema) -> frozenset[str]:
    """The JSON types that `schema` may accept; `ALL` where it does not say."""
    schema = followed(schema)
    kind, values = schema.get("type"), schema.get("enum")
    if isinstance(kind, str):
        return frozenset({kind})
    if isinstance(kind, list):
        return frozenset(str(item) for item in kind)
    if "const" in schema:
        return frozenset({type_of(schema["const"])})
    if isinstance(values, list):
        return frozenset(type_of(value) for value in values)
    options = _options(schema)
    return frozenset().union(*map(allowed, options)) or ALL if options else ALL


def fits(found: frozenset[str], expected: frozenset[str]) -> bool:
    """Every type that may come is one that is taken; an integer is a number."""
    taken = expected | {"integer"} if "number" in expected else expected
    return found <= taken


def misfit(found: Schema, wanted: Schema, depth: int = 0) -> tuple[tuple[str, ...], Schema, Schema] | None:
    """Where a value of schema `found` may be none of schema `wanted`: path, what comes, what is taken. None if nothing
    that is said speaks against it: what a schema leaves open is no misfit."""
    found, wanted = followed(found), followed(wanted)
    come, taken = allowed(found), allowed(wanted)
    if come != ALL and not fits(come, taken):
        return (), found, wanted
    if depth == DEEPEST or come == ALL:
        return None
    if (
        come == {"array"}
        and isinstance(found.get("items"), Mapping)
        and isinstance(wanted.get("items"), Mapping)
    ):
        inner = misfit(_inner(found, "items"), _inner(wanted, "items"), depth + 1)
        return inner and (("*", *inner[0]), inner[1], inner[2])
    if come != {"object"}:
        return None
    return _object_misfit(found, wanted, depth)


def sure(found: Schema | None, wanted: Schema) -> bool:
    """Known to fit: of what nobody knows the type that can't be said."""
    return found is not None and allowed(found) != ALL and misfit(found, wanted) is None


def _object_misfit(
    found: Schema, wanted: Schema, depth: int
) -> tuple[tuple[str, ...], Schema, Schema] | None:
    required = wanted.get("required")
    for name in required if isinstance(required, list) else ():
        if at_path(found, (str(name),)) is None:
            return (str(name),), {"not": {}}, property_schema(wanted, str(name)) or {}
    properties = found.get("properties")
    for name in islice(properties, 64) if isinstance(properties, Mapping) else ():
        one, other = property_schema(found, name), property_schema(wanted, name)
        inner = misfit(one, other, depth + 1) if one and other else None
        if inner:
            return (name, *inner[0]), inner[1], inner[2]
    return None


def type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for name, kind in (("integer", int), ("number", float), ("string", str), ("array", list)):
        if isinstance(value, kind):
            return name
    return "object"


def at_path(schema: Schema, path: tuple[str, ...]) -> Schema | None:
    """The schema of what `path` leads to: `{}` where it does not say, None where it excludes the path."""
    found: object
    for part in path:
        schema = followed(schema)
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and part in properties:
            found = properties[part]
        elif part.isdigit() and "array" in allowed(schema):
            found = schema.get("items")
        elif options := [way for one in _options(schema) if (way := at_path(one, (part,))) is not None]:
            found = options[0] if len(options) == 1 else {"anyOf": options}
        elif isinstance(properties, Mapping) and not schema.get("additionalProperties"):
            return None
        elif allowed(schema) & {"object", "array"}:
            found = schema.get("additionalProperties")
        else:
            return None
        schema = _with_shared(found, schema) if isinstance(found, Mapping) else {}
    return schema


def property_schema(schema: Schema, name: str) -> Schema | None:
    """One property's schema; `{}` where it may be anything, None where there is no such name."""
    schema = followed(schema)
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and name in properties:
        return _inner(properties, name, schema)
    if schema.get("additionalProperties"):
        return _inner(schema, "additionalProperties")
    return {} if not isinstance(properties, Mapping) and "additionalProperties" not in schema else None


def items_schema(schema: Schema) -> Schema:
    return _inner(followed(schema), "items")


def named_types(schema: object) -> str:
    """For people: `integer or string`."""
    if not isinstance(schema, Mapping):
        return "anything"
    if schema == {"not": {}}:
        return "nothing"
    kinds = allowed(schema)
    return "anything" if kinds == ALL else " or ".join(sorted(kinds))


def _inner(holder: Schema, key: str, owner: Schema | None = None) -> Schema:
    found = holder.get(key)
    return _with_shared(found, owner or holder) if isinstance(found, Mapping) else {}


def _with_shared(schema: Schema, owner: Schema) -> Schema:
    shared = {key: owner[key] for key in _SHARED if key in owner and key not in schema}
    return {**schema, **shared} if shared else schema


def _options(schema: Schema) -> list[Schema]:
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list):
            return [
                _with_shared(option, schema)
                for option in options[:MOST_OPTIONS]
                if isinstance(option, Mapping)
            ]
    return []
