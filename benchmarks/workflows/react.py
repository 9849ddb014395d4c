"""ReAct: the planner is asked for one call at a time, and sees what the calls so far came to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflows.catalog import Catalog
from workflows.planner import REQUEST, TOOL, TOOLS_HEAD, shown_tools
from workflows.signature import signature

FORM = """You do a task by calling tools, one at a time. Answer with one JSON object and nothing else:
{"tool": "server/tool", "arguments": {"name": "value"}} to call a tool, or {"answer": "text"} when all is done."""
DONE, NEXT, RESULT, ERROR = "Done so far:", "What is next?", "Result: ", "Error: "
SHOWN_RESULT = 1500
"""Characters of a result or an error."""
STEP_SCHEMA: Mapping[str, Any] = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"tool": {"type": "string"}, "arguments": {"type": "object"}},
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"],
            "additionalProperties": False,
        },
    ]
}


@dataclass(frozen=True)
class Past:
    """One answer of the planner, and what it came to."""

    said: str
    value: object = None
    error: str | None = None


def messages(request: str, past: Sequence[Past], catalog: Catalog, tools: int) -> list[dict[str, str]]:
    shown = [
        TOOL + signature(spec, catalog.output(spec.key)) for spec in shown_tools(catalog, request, tools)
    ]
    lines = [TOOLS_HEAD, *shown, REQUEST + request, *([DONE] if past else [])]
    for one in past:
        lines.append(" ".join(one.said.split())[:SHOWN_RESULT])
        lines.append(
            ERROR + " ".join(one.error.split())[:SHOWN_RESULT] if one.error else RESULT + _shown(one.value)
        )
    return [{"role": "system", "content": FORM}, {"role": "user", "content": "\n".join([*lines, NEXT])}]


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:SHOWN_RESULT]
