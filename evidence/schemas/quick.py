"""Says yes quickly: a closure per schema node, for the few keywords that our own schemas use.

A generic validator spends longer on an event than reading and storing it takes. What this can't accept
goes to the generic one, which alone refuses and words the reason.
"""

import re
from collections.abc import Callable
from typing import Any

Accepts = Callable[[Any], bool]

_IGNORED = frozenset({"$schema", "$id", "title", "description", "examples", "default"})
_TYPES: dict[str, Accepts] = {
    "object": lambda v: type(v) is dict,
    "array": lambda v: type(v) is list,
    "string": lambda v: type(v) is str,
    "boolean": lambda v: type(v) is bool,
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) is int or type(v) is float,
    "null": lambda v: v is None,
}


class Unsupported(ValueError):
    """The schema uses a keyword that is not known here."""


def compile_schema(schema: dict[str, Any]) -> Accepts:
    """True means that the value is valid; False that the generic validator must be asked. Raises
    Unsupported."""
    checks = [_keyword(name, argument) for name, argument in schema.items() if name not in _IGNORED]
    if len(checks) == 1:
        return checks[0]
    return lambda value: all(check(value) for check in checks)


def _keyword(name: str, argument: Any) -> Accepts:
    maker = _MAKERS.get(name)
    if maker is None:
        raise Unsupported(name)
    return maker(argument)


def _type(names: Any) -> Accepts:
    kinds = [_TYPES[name] for name in ([names] if isinstance(names, str) else names)]
    return kinds[0] if len(kinds) == 1 else lambda value: any(kind(value) for kind in kinds)


def _required(names: Any) -> Accepts:
    return lambda value: type(value) is not dict or all(name in value for name in names)


def _properties(schemas: Any) -> Accepts:
    checks = [(name, compile_schema(schema)) for name, schema in schemas.items()]
    return lambda value: (
        type(value) is not dict or all(check(value[name]) for name, check in checks if name in value)
    )


def _items(schema: Any) -> Accepts:
    check = compile_schema(schema)
    return lambda value: type(value) is not list or all(check(item) for item in value)


def _all_of(schemas: Any) -> Accepts:
    checks = [compile_schema(schema) for schema in schemas]
    return lambda value: all(check(value) for check in checks)


def _one_of_these(values: Any) -> Accepts:
    # A string alone is compared: JSON's equality of 1, 1.0 and true is left to the generic validator.
    return lambda value: type(value) is str and value in values


def _const(wanted: Any) -> Accepts:
    return lambda value: type(value) is type(wanted) and type(value) in (str, int) and value == wanted


def _pattern(source: Any) -> Accepts:
    expression = re.compile(source)
    return lambda value: type(value) is not str or expression.search(value) is not None


_MAKERS: dict[str, Callable[[Any], Accepts]] = {
    "type": _type,
    "required": _required,
    "properties": _properties,
    "items": _items,
    "allOf": _all_of,
    "enum": _one_of_these,
    "const": _const,
    "pattern": _pattern,
    "minLength": lambda least: lambda value: type(value) is not str or len(value) >= least,
    "minimum": lambda least: lambda value: type(value) not in (int, float) or value >= least,
    "maximum": lambda most: lambda value: type(value) not in (int, float) or value <= most,
}
