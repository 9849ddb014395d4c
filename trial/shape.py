"""The form of a reply without its words: what a client's parser meets."""

import json
from collections.abc import Iterator

from trial.turns import ReplayedTurn

_OF_THE_CONNECTION = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
_MOST = 200
"""Parts of one object or list that are looked at."""
_DEEPEST = 32
_LAST = "[DONE]"


def shape_of(turn: ReplayedTurn) -> frozenset[str]:
    """Status, media type, names of headers, and every place of the reply with the kind of what stands there."""
    media = turn.headers.get("content-type", "").partition(";")[0].strip()
    named = (f"header {name}" for name in turn.headers if name not in _OF_THE_CONNECTION)
    places = _places(turn.reply, "reply", turn.request_id, _DEEPEST)
    return frozenset({f"status {turn.status}", f"media type {media}", *named, *places})


def _places(value: object, at: str, request_id: str, deeper: int) -> Iterator[str]:
    if deeper == 0:
        return
    if isinstance(value, str) and value.startswith("{"):
        value = _parsed(value)  # a frame of a stream
    if isinstance(value, dict):
        for name, inner in list(value.items())[:_MOST]:
            yield from _places(inner, f"{at}.{name}", request_id, deeper - 1)
    elif isinstance(value, list):
        yield f"{at}: list"
        for inner in value[:_MOST]:
            yield from _places(inner, f"{at}[]", request_id, deeper - 1)
    else:
        yield f"{at}: {_kind(value, request_id)}"


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _kind(value: object, request_id: str) -> str:
    if value == _LAST:
        return _LAST
    if isinstance(value, str) and request_id and request_id in value:
        return "the request's id"
    return {"NoneType": "nothing", "int": "number", "float": "number"}.get(
        type(value).__name__, type(value).__name__
    )
