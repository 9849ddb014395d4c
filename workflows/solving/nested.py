"""An object, or a list of them, put together from what a request names: `entity` and its `observations`."""

from collections.abc import Callable, Mapping
from typing import Any

from workflows.solving.naming import Named
from workflows.types import Schema, allowed, items_schema, property_schema

DEEPEST = 3


def nested(wanted: Schema, offers: Callable[[str, Schema], list[Named]], depth: int = 0) -> Any:
    """The object, or a list of one, with all that it requires; None where something is missing. `offers`: what the request
    names for a property, the best first. Of each value one property is made: the one that it is called like most."""
    kinds = allowed(wanted)
    if depth >= DEEPEST:
        return None
    if "array" in kinds and len(kinds) == 1:
        inner = nested(items_schema(wanted), offers, depth + 1)
        return None if inner is None else [inner]
    required = wanted.get("required")
    if kinds != {"object"} or not isinstance(required, list):
        return None
    return _filled(required, wanted, offers, depth)


def _filled(
    required: list[Any], wanted: Schema, offers: Callable[[str, Schema], list[Named]], depth: int
) -> Mapping[str, Any] | None:
    found: dict[str, Any] = {}
    missing: dict[str, list[Named]] = {}
    for name in map(str, required):
        schema = property_schema(wanted, name) or {}
        inner = nested(schema, offers, depth + 1)
        if inner is not None:
            found[name] = inner
        else:
            missing[name] = offers(name, schema)
    used: list[str] = []
    while missing:
        left = {
            name: [one for one in ways if _plain(one.value) not in used] for name, ways in missing.items()
        }
        name = max(left, key=lambda one: left[one][0].score if left[one] else -1.0)
        if not left[name]:
            return None
        found[name] = left[name][0].value
        used.append(_plain(found[name]))
        del missing[name]
    return {name: found[name] for name in map(str, required)}


def _plain(value: Any) -> str:
    return str(value[0] if isinstance(value, list) and len(value) == 1 else value)
