"""Values at run time: what an argument comes to, whether a predicate holds, and templates filled in."""

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from workflows.graph import TEMPLATE, Argument, Arguments, Combine, Compare, Exists, Literal, Predicate

Values = Mapping[str, Any]
"""`inputs`, the results of the steps that are done by their ids, and, within a map, `item`."""
Reader = Callable[[Values], object]

_ORDERS = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}


class Missing(LookupError):
    """A reference leads nowhere in what was really returned."""


def reader(argument: Argument) -> Reader:
    """Reads the argument's value; raises Missing. Made once, for a reference is taken apart only then."""
    if isinstance(argument, Literal):
        value = argument.value
        return lambda values: value
    ref, source, path = argument.ref, argument.source, argument.path

    def read(values: Values) -> object:
        try:
            value = values[source]
        except KeyError:
            raise Missing(f"{ref}: {source} is not done") from None
        return _walk(value, path, ref) if path else value

    return read


def read_all(readers: Mapping[str, Reader], values: Values) -> dict[str, object]:
    return {name: read(values) for name, read in readers.items()}


def readers(arguments: Arguments) -> dict[str, Reader]:
    return {name: reader(argument) for name, argument in arguments.items()}


def holds(predicate: Predicate, values: Values) -> bool:
    """Never raises: what is not there, or can't be compared, does not hold."""
    match predicate:
        case Combine(op, parts):
            found = (holds(part, values) for part in parts)
            return all(found) if op == "all" else any(found) if op == "any" else not any(found)
        case Exists(ref):
            return _read(ref, values) not in (None, Missing)
        case Compare(left, op, right):
            one, other = _read(left, values), _read(right, values)
            return Missing not in (one, other) and _compare(one, op, other)


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill `{name}`; what is no text is shown as JSON. No format specifications: a template is data."""

    def fill(match: re.Match[str]) -> str:
        name, stray = match.groups()
        if name is None:
            return stray or match[0][0]
        value = values[name]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return TEMPLATE.sub(fill, template)


def _walk(value: Any, path: tuple[str, ...], ref: str) -> object:
    for part in path:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and len(part) < 10 and int(part) < len(value):
            value = value[int(part)]
        else:
            raise Missing(f"{ref}: the result has no {part!r}")
    return value


def _read(argument: Argument, values: Values) -> Any:
    try:
        return reader(argument)(values)
    except Missing:
        return Missing


def _compare(one: Any, op: str, other: Any) -> bool:
    if op in ("eq", "ne"):
        same = _same(one, other)
        return same if op == "eq" else not same
    if op in _ORDERS:
        numbers = _is_number(one) and _is_number(other)
        return (numbers or (isinstance(one, str) and isinstance(other, str))) and bool(
            _ORDERS[op](one, other)
        )
    if op == "in":
        one, other = other, one
    if op == "starts_with":
        return isinstance(one, str) and isinstance(other, str) and one.startswith(other)
    if isinstance(one, str):
        return isinstance(other, str) and other in one
    return isinstance(one, list | dict) and any(_same(part, other) for part in one)


def _same(one: Any, other: Any) -> bool:
    """As JSON: true is not 1, but 1.0 is 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
