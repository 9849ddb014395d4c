"""Values of arguments: how they are told apart, and what they are as the type that is wanted."""

import json
from typing import Any

from workflows.repairs import conversions
from workflows.schemas import UNREADABLE, validator
from workflows.types import Schema, allowed


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
