"""The little of JSON Schema that references need: which types a schema allows, and the schema at a path."""

from collections.abc import Mapping

ALL = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})


def allowed(schema: Mapping[str, object]) -> frozenset[str]:
    """The JSON types that `schema` may accept; `ALL` where it does not say."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return frozenset({kind})
    if isinstance(kind, list):
        return frozenset(str(item) for item in kind)
    if isinstance(schema.get("enum"), list):
        return frozenset(type_of(value) for value in schema["enum"])  # type: ignore[attr-defined]
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list):
            return (
                frozenset().union(*(allowed(option) for option in options if isinstance(option, dict))) or ALL
            )
    return ALL


def fits(found: frozenset[str], expected: frozenset[str]) -> bool:
    """Every type that may come is one that is taken; an integer is a number."""
    taken = expected | {"integer"} if "number" in expected else expected
    return found <= taken


def type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for name, kind in (("integer", int), ("number", float), ("string", str), ("array", list)):
        if isinstance(value, kind):
            return name
    return "object"


def at_path(schema: Mapping[str, object], path: tuple[str, ...]) -> Mapping[str, object] | None:
    """The schema of what `path` leads to: `{}` where it does not say, None where it excludes the path."""
    for part in path:
        properties, items = schema.get("properties"), schema.get("items")
        if isinstance(properties, dict) and part in properties:
            found = properties[part]
        elif part.isdigit() and "array" in allowed(schema):
            found = items
        elif isinstance(properties, dict) and not schema.get("additionalProperties"):
            return None
        elif allowed(schema) & {"object", "array"}:
            found = schema.get("additionalProperties")
        else:
            return None
        schema = found if isinstance(found, dict) else {}
    return schema


def property_schema(schema: Mapping[str, object], name: str) -> dict[str, object] | None:
    """One property's schema with the definitions that it may refer to; None where there is no such name."""
    properties = schema.get("properties")
    found = properties.get(name) if isinstance(properties, dict) else None
    if not isinstance(found, dict):
        return {} if found is True or schema.get("additionalProperties") else None
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return {**found, **shared}
