"""Secrets in streamed answers: each frame holds a piece that looks like nothing."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

_NOT_TEXT = frozenset({"type", "role", "id", "index", "object", "model"})
_Place = tuple[dict[str, Any], str]


def join_pieces(frames: list[Any], redact: Callable[[str], str]) -> list[Any]:
    """The frames, where a text that runs through several of them held a secret with its redacted form in
    the first of these."""
    if not any(isinstance(frame, dict) and ("delta" in frame or "choices" in frame) for frame in frames):
        return frames
    joined: list[Any] | None = None
    for pieces in _texts(frames).values():
        whole = "".join(holder[key] for holder, key in pieces)
        if len(pieces) > 1 and redact(whole) != whole:
            joined = copy.deepcopy(frames)
            break
    if joined is None:
        return frames
    for pieces in _texts(joined).values():
        whole = "".join(holder[key] for holder, key in pieces)
        redacted = redact(whole)
        if redacted != whole:
            for holder, key in pieces:
                holder[key], redacted = redacted, ""
    return joined


def _texts(frames: list[Any]) -> dict[tuple[object, ...], list[_Place]]:
    """Where the pieces of each running text are, in order."""
    found: dict[tuple[object, ...], list[_Place]] = defaultdict(list)
    for frame in frames:
        if isinstance(frame, dict):
            stream = tuple(frame.get(name) for name in ("item_id", "output_index", "content_index", "index"))
            for path, place in _leaves(frame, False, ()):
                found[(*map(str, stream), *path)].append(place)
    return found


def _leaves(
    node: dict[str, Any], inside: bool, path: tuple[object, ...]
) -> Iterator[tuple[tuple[object, ...], _Place]]:
    for key, value in node.items():
        within = inside or key == "delta"
        if isinstance(value, str) and within and key not in _NOT_TEXT:
            yield (*path, key), (node, key)
        elif isinstance(value, dict):
            yield from _leaves(value, within, (*path, key))
        elif isinstance(value, list) and (within or key == "choices"):
            for number, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _leaves(item, within, (*path, key, str(item.get("index", number))))
