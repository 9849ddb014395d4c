"""Values of arguments: how they are told apart, how sure they are, and what they are as the type that is wanted."""

import json
from typing import Any, NamedTuple

from workflows.repairs import conversions
from workflows.schemas import UNREADABLE, validator
from workflows.types import Schema, allowed

SAID, MEANT, GUESSED, MADE_UP = 3, 2, 1, 0
"""Ranks: a literal that is said, or a reference that leads somewhere; made from one that nearly does; from what is left;
nobody knows from what."""


class Value(NamedTuple):
    value: Any
    rank: int


def key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def fitting(value: Any, schema: Schema) -> Any:
    """The value, or what it is as another type, that the schema takes; None if there is none."""
    try:
        ready = validator(schema)
        return next(
            (one for one in (value, *conversions(value, allowed(schema))) if ready.is_valid(one)), None
        )
    except UNREADABLE:
        return value
