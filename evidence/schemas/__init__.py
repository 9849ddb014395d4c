"""Published formats that intake checks against."""

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def event_schema() -> dict[str, Any]:
    """The schema of one line of a service's `events.jsonl`."""
    text = resources.files(__package__).joinpath("event.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
