"""Chat completions, read as far as must be known of what a service asked a model and what the model said. Pure functions;
whatever does not have the form is left out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trial.gateway import wire

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Ask:
    """A tool call in the model's words. `arguments` is None when they are no JSON object."""

    id: str
    name: str
    arguments: dict[str, object] | None


@dataclass(frozen=True)
class Said:
    """One answer of a model."""

    text: str
    asks: tuple[Ask, ...]
    finish_reason: str = ""


def messages(request: object) -> list[Mapping[str, object]] | None:
    """Of a request; None when it holds anything else."""
    found = request.get("messages") if isinstance(request, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        return None
    return found


def text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and "text" in part)


def message_said(message: Mapping[str, object], finish_reason: str = "") -> Said:
    """An assistant's message."""
    calls = message.get("tool_calls")
    entries = calls if isinstance(calls, list) else []
    asks = tuple(_ask(entry) for entry in entries if isinstance(entry, Mapping))
    return Said(text_of(message.get("content")), asks, finish_reason)


def said(response: object) -> Said | None:
    """The first choice of an answer, streamed or not; None when it is no chat completion."""
    frames = wire.frames_of(response)
    if frames is not None:
        return _streamed([frame.get("data") for frame in frames])
    choice = _choice(response)
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, Mapping):
        return None
    return message_said(message, str(choice.get("finish_reason") or ""))


def offered(request: object) -> list[Mapping[str, object]]:
    """The functions that a request offers as tools."""
    tools = request.get("tools") if isinstance(request, Mapping) else None
    functions = (
        [t.get("function") for t in tools if isinstance(t, Mapping)] if isinstance(tools, list) else []
    )
    return [function for function in functions if isinstance(function, Mapping)]


def offer_of(request: object, tool: str) -> Mapping[str, object] | None:
    """The function that stands for `server/tool`, by its whole name or else by the tool's alone; None unless one does."""
    found = [function for function in offered(request) if stands_for(str(function.get("name")), tool)]
    whole = [function for function in found if _plain(str(function.get("name"))) == _plain(tool)]
    only = whole or found
    return only[0] if len(only) == 1 else None


def stands_for(name: str, tool: str) -> bool:
    """May a function of this name be `server/tool`? Services write it in the letters that a wire format admits."""
    return _plain(name) in (_plain(tool), _plain(tool.partition("/")[2]))


def completion(text: str, asks: Sequence[Ask] = ()) -> dict[str, object]:
    """An answer in this form."""
    message: dict[str, object] = {"role": "assistant", "content": None if asks else text}
    if asks:
        message["tool_calls"] = [
            {
                "id": one.id,
                "type": "function",
                "function": {"name": one.name, "arguments": json.dumps(one.arguments)},
            }
            for one in asks
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if asks else "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "choices": [choice],
        "usage": usage,
    }


def as_frames(answer: Mapping[str, object]) -> list[dict[str, object]]:
    """The same answer as the frames of a stream."""
    choice = _choice(answer) or {}
    message = choice.get("message")
    delta = dict(message) if isinstance(message, Mapping) else {}
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
    about = {name: answer[name] for name in ("id", "created")} | {"object": "chat.completion.chunk"}
    first = {"index": 0, "delta": delta, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": choice.get("finish_reason")}
    return [
        {"data": {**about, "choices": [first]}},
        {"data": {**about, "choices": [last]}},
        {"data": "[DONE]"},
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _choice(response: object) -> Mapping[str, object] | None:
    choices = response.get("choices") if isinstance(response, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None


def _ask(entry: Mapping[str, object]) -> Ask:
    function = entry.get("function")
    table = function if isinstance(function, Mapping) else {}
    return Ask(str(entry.get("id") or ""), str(table.get("name") or ""), _object(table.get("arguments")))


def _object(arguments: object) -> dict[str, object] | None:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else {} if arguments is None else None


def _streamed(frames: Iterable[object]) -> Said | None:
    text, finish, calls = "", "", dict[object, dict[str, str]]()
    choices = [choice for frame in frames if (choice := _choice(frame)) is not None]
    for choice in choices:
        finish = str(choice.get("finish_reason") or finish)
        delta = choice.get("delta")
        if not isinstance(delta, Mapping):
            continue
        text += text_of(delta.get("content"))
        entries = delta.get("tool_calls")
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, Mapping):
                _collect(calls.setdefault(str(entry.get("index", 0)), {}), entry)
    if not choices:
        return None
    asks = tuple(
        Ask(c.get("id", ""), c.get("name", ""), _object(c.get("arguments", ""))) for c in calls.values()
    )
    return Said(text, asks, finish)


def _collect(call: dict[str, str], entry: Mapping[str, object]) -> None:
    """Name and id come whole, arguments in pieces."""
    function = entry.get("function")
    table = function if isinstance(function, Mapping) else {}
    for name, value in (("id", entry.get("id")), ("name", table.get("name"))):
        if value:
            call[name] = str(value)
    call["arguments"] = call.get("arguments", "") + str(table.get("arguments") or "")
