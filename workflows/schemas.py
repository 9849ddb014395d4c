"""Schemas that strangers wrote: validators for them, and whether they are schemas at all."""

import re
from collections.abc import Mapping

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, UnknownType
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import SchemaRegistry

UNREADABLE = (SchemaError, UnknownType, Unresolvable, re.error, RecursionError, TypeError, AttributeError)
"""What a validator may raise, when it is used, for a schema that is none."""
_NOTHING: SchemaRegistry = Registry()


def validator(schema: Mapping[str, object]) -> Validator:
    """Of the draft that it names, else of 2020-12. A reference out of the schema leads nowhere, and following it raises
    `referencing.exceptions.Unresolvable`: without a registry of its own, jsonschema would open whatever address or local
    file a stranger names."""
    return _draft(schema)(schema, registry=_NOTHING)


def broken(schema: Mapping[str, object]) -> str | None:
    """Why it is no schema."""
    try:
        _draft(schema).check_schema(dict(schema))
    except (SchemaError, RecursionError) as error:
        return str(getattr(error, "message", "it is nested too deep"))[:200]
    return None


def _draft(schema: Mapping[str, object]) -> type[Validator]:
    if not isinstance(schema.get("$schema"), str):
        return Draft202012Validator
    return validator_for(schema, default=Draft202012Validator)
