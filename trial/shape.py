"""The form of a reply without its words: what a client's parser meets, and what a client acts on."""

import json
import re
from collections.abc import Iterator, Mapping

from trial.graders.reading import answer_text
from trial.turns import ReplayedTurn

_OF_THE_CONNECTION = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
_MOST = 200
"""Parts of one object or list that are looked at."""
_DEEPEST = 32
_LAST = "[DONE]"
_SHORT = 200
"""Characters of a text that may be a word of the interface."""
_VERSION = re.compile(r"(?:sha256:)?[0-9a-f]{12,}")
_FOR_THE_CLIENT = (
    "tool_use",
    "function_call",
    "custom_tool_call",
    "computer_call",
    "shell_call",
    "local_shell_call",
    "apply_patch_call",
)
"""Types of a reply's items that the client is to act on; other calls of tools were made by whoever replied."""
_MOST_TOKENS = 10**18


def shape_of(turn: ReplayedTurn, session: str = "") -> frozenset[str]:
    """Status, media type, names of headers, and every place of the reply with the kind of what stands there. `session`:
    the turn's; like the request's id, a client that sent it may look for it."""
    media = turn.headers.get("content-type", "").partition(";")[0].strip()
    named = {f"header {name}" for name in turn.headers if name not in _OF_THE_CONNECTION}
    said = {
        f"header {name}: {kind}"
        for name, value in turn.headers.items()
        if (kind := _kind(value, turn.request_id, session)) != "str"
    }
    places = {
        f"{at}: {_kind(value, turn.request_id, session)}"
        for at, value in _leaves(turn.reply, "reply", _DEEPEST)
    }
    return frozenset({f"status {turn.status}", f"media type {media}"} | named | said | places)


def words_of(turn: ReplayedTurn, session: str = "") -> dict[str, frozenset[str]]:
    """Place of the reply -> the short texts, yes or no, and lengths of lists there; without those of the answer itself,
    which graders read, and without what names the request or a version."""
    try:
        answer = answer_text(turn)
    except RecursionError:
        return {}
    found: dict[str, set[str]] = {}
    for at, value in _leaves(turn.reply, "reply", _DEEPEST):
        if isinstance(value, list):
            found.setdefault(f"the length of {at}", set()).add(str(len(value)))
        elif isinstance(value, bool):
            found.setdefault(at, set()).add(str(value))
        elif (
            isinstance(value, str)
            and len(value) <= _SHORT
            and value not in answer
            and _kind(value, turn.request_id, session) == "str"
            and not _VERSION.fullmatch(value)
        ):
            found.setdefault(at, set()).add(value)
    return {at: frozenset(values) for at, values in found.items()}


def _leaves(value: object, at: str, deeper: int) -> Iterator[tuple[str, object]]:
    """Every place with what stands there, and every list."""
    if deeper == 0:
        return
    if isinstance(value, str) and value.startswith("{"):
        value = _parsed(value)  # a frame of a stream
    if isinstance(value, dict):
        for name, inner in list(value.items())[:_MOST]:
            yield from _leaves(inner, f"{at}.{name}", deeper - 1)
        return
    yield at, value
    if isinstance(value, list):
        for inner in value[:_MOST]:
            yield from _leaves(inner, f"{at}[]", deeper - 1)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _kind(value: object, request_id: str, session: str) -> str:
    if value == _LAST:
        return _LAST
    if isinstance(value, str) and request_id and request_id in value:
        return "the request's id"
    if session and value == session:
        return "the request's session"
    return {"NoneType": "nothing", "int": "number", "float": "number"}.get(
        type(value).__name__, type(value).__name__
    )


def client_calls(reply: object) -> frozenset[str]:
    """Names of the tools that a reply, whole or as a stream's frames, asks its client to call; empty for one unnamed."""
    found = frozenset(name for part in _parts(reply) for name in _asked(part))
    return found - {""} or found  # a stream names a call once


def offered_tools(body: Mapping[str, object]) -> frozenset[str]:
    """Names of the tools that a client says it has."""
    given = [tool for key in ("tools", "functions") for tool in _objects(body.get(key))]
    inner = [
        one
        for tool in given
        for key in ("functionDeclarations", "function_declarations")
        for one in _objects(tool.get(key))
    ]
    return frozenset(map(_name, (*given, *inner)))


def used_tokens(reply: object) -> int:
    """The largest number that a reply, whole or as a stream's frames, says under `usage`."""
    tables = [
        holder.get(key)
        for part in _parts(reply)
        for holder in (part, *_objects(part.get("response")), *_objects(part.get("message")))
        for key in ("usage", "usageMetadata")
    ]
    return max((number for table in tables for number in _numbers(table, _DEEPEST)), default=0)


def _parts(reply: object) -> Iterator[Mapping[str, object]]:
    for part in reply if isinstance(reply, list) else [reply]:
        value = _parsed(part) if isinstance(part, str) else part
        if isinstance(value, dict):
            yield value


def _objects(value: object) -> list[Mapping[str, object]]:
    """Of a list its objects, of one object itself; whatever else is there counts as an object without a name."""
    items = value if isinstance(value, list) else [value] if value else []
    return [item if isinstance(item, dict) else {} for item in items]


def _asked(part: Mapping[str, object]) -> Iterator[str]:
    """Of chat completions, messages, responses and Gemini, and of their frames."""
    said = [
        one
        for choice in _objects(part.get("choices"))
        for key in ("message", "delta")
        for one in _objects(choice.get(key))
    ]
    for message in said:
        yield from map(_name, (*_objects(message.get("tool_calls")), *_objects(message.get("function_call"))))
    whole = (part, *said, *_objects(part.get("message")), *_objects(part.get("response")))
    for holder in whole:
        for key in ("content", "content_block", "output", "item"):
            yield from (
                _name(item) for item in _objects(holder.get(key)) if item.get("type") in _FOR_THE_CLIENT
            )
    for candidate in _objects(part.get("candidates")):
        for content in _objects(candidate.get("content")):
            for piece in _objects(content.get("parts")):
                yield from map(
                    _name, (*_objects(piece.get("functionCall")), *_objects(piece.get("function_call")))
                )


def _name(call: Mapping[str, object]) -> str:
    """A built-in tool is named by its type."""
    tables = (call, *_objects(call.get("function")), *_objects(call.get("custom")))
    named = [*(table.get("name") for table in tables), call.get("type")]
    return next((name.removesuffix("_call") for name in named if isinstance(name, str)), "")


def _numbers(value: object, deeper: int) -> Iterator[int]:
    if isinstance(value, dict | list) and deeper:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner, deeper - 1)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        yield int(min(abs(value), _MOST_TOKENS))
