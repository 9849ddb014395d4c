"""What a `tools/call` result comes to: its text, its value, and whether it says that the call failed."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BESIDE_AN_ERROR = re.compile(
    "code|details?|error_?code|error_type|hint|id|message|ok|path|request_?id|stack|status|status_?code|success"
    "|suggestion|timestamp|tool|traceback|type",
    re.IGNORECASE,
)
"""What may stand beside `error` without being the data that was asked for."""
_FRAMEWORKS = re.compile(r"MCP error -32\d{3}: ")
"""The TypeScript library's words for a JSON-RPC error that somebody handed on as text."""
FAILURES_OF = {"sqlite": ("Error: ", "Database error: ")}
"""Servers, by the name that they report, which answer with a plain text that begins so when a call failed. Only servers
none of whose tools hands on a stranger's text at its beginning."""


class ToolAnswer(NamedTuple):
    content: str
    is_error: bool
    value: Any
    """Structured content, or the content itself parsed where it is a JSON object or array; the parts of a result that has
    neither text nor structure, as of a picture."""


def read_result(result: Mapping[str, Any], *, tool: str = "", failures: Sequence[str] = ()) -> ToolAnswer:
    """A `tools/call` result. A failure that is dressed as success counts as a failure: see `says_failure` for values. Of
    texts only these count, for a tool may well hand on a file that begins with "Error": what frameworks write around a
    tool's exception (with `tool`, its exact name), and what begins with one of `failures`, which whoever knows the
    server says."""
    parts = [part for part in _items(result.get("content")) if isinstance(part, dict)]
    texts = [text for part in parts if (text := _text(part)) is not None]
    content, structured = "\n".join(texts), result.get("structuredContent")
    if not texts and structured is not None:
        content = json.dumps(structured, ensure_ascii=False)
    value = structured if structured is not None else _parsed(content) if texts or not parts else parts
    failed = result.get("isError") is True or says_failure(value) or _text_says(value, tool, failures)
    return ToolAnswer(content, failed, value)


def says_failure(value: Any) -> bool:
    """An object counts as a failure if it

    - says so: `{"ok": false}`, `{"success": false}`, `{"status": "error"}`, `{"isError": true}`;
    - is an error and nothing else: `error` is true, a text or an object, and what stands beside it only describes it
      (BESIDE_AN_ERROR) or is empty. With any data beside it, it is data: a build's record may have an `error`;
    - is a GraphQL answer with errors and without data;
    - wraps one of these as its only key, `result`, as servers do whose results have to be objects.
    """
    if not isinstance(value, dict):
        return False
    if value.keys() == {"result"}:
        return says_failure(value["result"])
    if value.get("ok") is False or value.get("success") is False or value.get("status") == "error":
        return True
    if value.get("isError") is True or value.get("is_error") is True:
        return True
    return _is_an_error(value) or _is_graphql_failure(value)


def _is_an_error(value: Mapping[str, Any]) -> bool:
    error = value.get("error")
    if not error or not (error is True or isinstance(error, str | dict)):
        return False
    return not any(
        found not in (None, "", [], {}, False) and BESIDE_AN_ERROR.fullmatch(name) is None
        for name, found in value.items()
        if name != "error"
    )


def _is_graphql_failure(value: Mapping[str, Any]) -> bool:
    errors = value.get("errors")
    if "data" not in value or value["data"] is not None or not isinstance(errors, list) or not errors:
        return False
    return all(isinstance(error, dict) and "message" in error for error in errors)


def _text_says(value: Any, tool: str, failures: Sequence[str]) -> bool:
    text = value["result"] if isinstance(value, dict) and value.keys() == {"result"} else value
    if not isinstance(text, str):
        return False
    named = (f"Error executing tool {tool}: ", f"Unknown tool: {tool}") if tool else ()
    return text.startswith((*named, *failures)) or _FRAMEWORKS.match(text) is not None


def _text(part: Mapping[str, Any]) -> str | None:
    """Of a text, of a resource that came along, or the address of one that did not."""
    resource = part.get("resource")
    if part.get("type") == "resource" and isinstance(resource, dict):
        found = resource.get("text")
    elif part.get("type") == "resource_link":
        found = part.get("uri")
    else:
        found = part.get("text")
    return found if isinstance(found, str) else None


def _parsed(content: str) -> Any:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    return value if isinstance(value, dict | list) else content


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
