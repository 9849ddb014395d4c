"""JSON-RPC and MCP, as far as a relay must understand them. Pure functions."""

from dataclasses import dataclass
from typing import Literal

DISCOVERY = frozenset(
    {"initialize", "tools/list", "resources/list", "resources/templates/list", "prompts/list"}
)
"""Without effect and the same for every turn: kept as the catalog, not as calls, and repeatable in a
replay."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
SERVER_GONE = -32000
TIMED_OUT = -32001
REFUSED = -32002
NOT_RECORDED = -32003

_ENVELOPE = "io.modelcontextprotocol/"


@dataclass(frozen=True)
class Message:
    """One JSON-RPC message of a client."""

    kind: Literal["request", "notification", "response"]
    id: str | int | None
    method: str
    params: dict[str, object]


class Malformed(ValueError):
    """Not a JSON-RPC 2.0 message."""


def parse_message(value: object) -> Message:
    """Raises Malformed. Batches are refused: the protocol dropped them in 2025-06-18."""
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise Malformed("not a JSON-RPC 2.0 message")
    ident = value.get("id")
    if ident is not None and (isinstance(ident, bool) or not isinstance(ident, str | int)):
        raise Malformed("id must be a string or an integer")
    method, params = value.get("method"), value.get("params", {})
    if method is None and ident is not None and ("result" in value or "error" in value):
        return Message("response", ident, "", {})
    if not isinstance(method, str):
        raise Malformed("method must be a string")
    if not isinstance(params, dict):
        raise Malformed("params must be an object")
    return Message("request" if ident is not None else "notification", ident, method, params)


def error(code: int, message: str) -> dict[str, object]:
    """The body of a failed answer, without its id."""
    return {"error": {"code": code, "message": message}}


def reply(ident: str | int | None, answer: dict[str, object]) -> dict[str, object]:
    """The message that answers `ident`; `answer` holds `result` or `error`."""
    return {"jsonrpc": "2.0", "id": ident, **answer}


def forwarded_params(params: dict[str, object]) -> dict[str, object]:
    """Progress tokens are a client's own numbers and no progress is relayed; the envelope belongs to a
    newer wire."""
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        return params
    kept = {k: v for k, v in meta.items() if k != "progressToken" and not k.startswith(_ENVELOPE)}
    rest = {k: v for k, v in params.items() if k != "_meta"}
    return {**rest, "_meta": kept} if kept else rest


def recorded_params(params: dict[str, object]) -> dict[str, object]:
    """What a replay matches on: the parameters without `_meta`."""
    return {k: v for k, v in params.items() if k != "_meta"}


def target_of(server: str, message: Message) -> str:
    """`server/tool` for tool calls, `server#method` for everything else."""
    if message.method == "tools/call":
        return f"{server}/{message.params.get('name', '')}"
    return f"{server}#{message.method}"


def catalog_key(message: Message) -> str:
    """Later pages of a listing are kept under their cursor."""
    cursor = message.params.get("cursor")
    return message.method if cursor is None else f"{message.method}?cursor={cursor}"
