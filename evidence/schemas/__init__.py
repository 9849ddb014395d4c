"""Published formats that intake checks against."""

import json
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator

from evidence.schemas.quick import Accepts, Unsupported, compile_schema


@cache
def event_schema() -> dict[str, Any]:
    """The schema of one line of a service's `events.jsonl`."""
    text = resources.files(__package__).joinpath("event.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _checks_for(kind: str | None) -> tuple[Accepts, Draft202012Validator]:
    """A quick yes, and who refuses; both for the schema with its conditions on `kind` resolved."""
    schema = dict(event_schema())
    if kind is not None:
        schema["allOf"] = [part for branch in schema.get("allOf", []) for part in _resolved(branch, kind)]
    try:
        return compile_schema(schema), Draft202012Validator(schema)
    except Unsupported:
        return (lambda _event: False), Draft202012Validator(schema)


def _resolved(branch: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    condition = branch.get("if", {})
    if set(condition) - {"properties", "required"} or set(condition.get("properties", {})) != {"kind"}:
        return [branch]
    applies = Draft202012Validator(condition).is_valid({"kind": kind})
    chosen = branch.get("then" if applies else "else")
    return [chosen] if chosen else []


def event_problem(event: dict[str, Any]) -> str:
    """Why this is no event; empty when it is one."""
    kind = event.get("kind")
    known = kind if isinstance(kind, str) and kind in event_schema()["properties"]["kind"]["enum"] else None
    accepts, validator = _checks_for(known)
    error = None if accepts(event) else next(iter(validator.iter_errors(event)), None)
    if error is None:
        return ""
    where = "/".join(str(part) for part in error.absolute_path) or "event"
    return f"{where}: {error.message}"[:300]
