"""The model wire formats, as far as a gateway must understand them. Pure functions.

Spoken are OpenAI chat completions, OpenAI responses, Anthropic messages and Gemini. What passes through
is not changed; what is recorded is canonical (see `canonical_request`).
"""

import json
import re
from collections.abc import Iterator
from typing import Literal, cast

import httpx2

from evidence.canonical import canonical_json
from trial.gateway.config import Price, Upstream
from trial.gateway.meter import Cost, price_of

Format = Literal["chat", "responses", "messages", "gemini"]

FORMATS: dict[str, Format] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages",
}
GEMINI = re.compile(r"/v1beta/models/([\w.-]+):(generateContent|streamGenerateContent|countTokens)")
"""The model's name and what is asked of it."""

VOLATILE = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "request_id", "client_request_id"}
)
"""Top-level request fields that say who asks, never what is asked: left out of recordings and of matching."""

_LINE_END = re.compile("\r\n|\n|\r")
"""Of an event stream: fewer characters end a line there than in Python."""

_LIMIT_FIELDS: dict[Format, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "gemini": ("maxOutputTokens",),
}


def format_of(path: str) -> Format | None:
    """Of a path that is forwarded; None for every other."""
    return "gemini" if GEMINI.fullmatch(path) else FORMATS.get(path)


def is_free(path: str) -> bool:
    """Counting tokens is no generation: it costs a call and no token."""
    return path.endswith(("/count_tokens", ":countTokens"))


def canonical_request(body: dict[str, object]) -> dict[str, object]:
    """The request without its volatile top-level fields; key order does not matter to a recording's key."""
    return {name: value for name, value in body.items() if name not in VOLATILE}


def _whole(value: object) -> int | None:
    """A positive integer, and nothing that an upstream might take for another one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _limits(path: str, body: dict[str, object]) -> tuple[dict[str, object], tuple[str, ...], str]:
    """The table that holds the limits of a request, their names, and the name for the number of choices."""
    spoken = format_of(path) or "chat"
    if spoken != "gemini":
        return body, _LIMIT_FIELDS[spoken], "n"
    table = body.get("generationConfig")
    return (table if isinstance(table, dict) else {}), _LIMIT_FIELDS[spoken], "candidateCount"


def output_limit(path: str, body: dict[str, object], default: int) -> int:
    """The most tokens that the answer may have, over all choices."""
    table, fields, choices = _limits(path, body)
    named = [limit for field in fields if (limit := _whole(table.get(field))) is not None]
    return max(named, default=default) * (_whole(table.get(choices)) or 1)


def model_of(path: str, body: dict[str, object]) -> str:
    named = GEMINI.fullmatch(path)
    return named[1] if named else str(body.get("model", ""))


def price_for(upstream: Upstream, path: str, body: dict[str, object]) -> Price | None:
    return upstream.prices.get(model_of(path, body), upstream.prices.get("*"))


def worst_case(path: str, body: dict[str, object], size: int, upstream: Upstream) -> Cost:
    """No tokenizer makes more tokens than bytes, so the request's size bounds the prompt."""
    if is_free(path):
        return Cost(calls=1)
    out = output_limit(path, body, upstream.max_output_tokens)
    return Cost(price_of(price_for(upstream, path, body), size, out), size + out, 1)


def bounded(path: str, body: dict[str, object], upstream: Upstream) -> tuple[dict[str, object], bool]:
    """The body to forward under a cap, and whether we asked for a usage frame that the client did not ask
    for.

    A request without a limit, or with one that is no integer, gets the configured one: the reservation
    assumed it.
    """
    if is_free(path):
        return body, False
    table, fields, choices = _limits(path, body)
    limits = (*fields, choices)
    out = {name: value for name, value in table.items() if name not in limits or _whole(value) is not None}
    if not any(field in out for field in fields):
        out[fields[-1]] = upstream.max_output_tokens
    if format_of(path) == "gemini":
        return {**body, "generationConfig": out}, False
    if path == "/v1/chat/completions" and out.get("stream") is True and not out.get("stream_options"):
        out["stream_options"] = {"include_usage": True}
        return out, True
    return out, False


def usage_of(answer: object) -> tuple[int, int] | None:
    """(prompt, completion) tokens as reported in an answer or in one stream frame, or None."""
    if not isinstance(answer, dict):
        return None
    holder = answer
    for name in ("response", "message"):  # stream events of responses and messages wrap it
        inner = answer.get(name)
        if isinstance(inner, dict) and "usage" in inner:
            holder = inner
    usage = holder.get("usage", holder.get("usageMetadata"))
    if not isinstance(usage, dict):
        return None

    def count(*names: str) -> int:
        return sum(v for v in (usage.get(n) for n in names) if isinstance(v, int) and not isinstance(v, bool))

    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
    prompt = count("prompt_tokens", "input_tokens", *cached, "promptTokenCount", "toolUsePromptTokenCount")
    return prompt, count("completion_tokens", "output_tokens", "candidatesTokenCount", "thoughtsTokenCount")


def tells_output(data: object) -> bool:
    """Whether a stream frame's usage covers the answer; that of Anthropic's first is of the prompt."""
    return usage_of(data) is not None and isinstance(data, dict) and data.get("type") != "message_start"


def merge_usage(seen: tuple[int, int] | None, more: tuple[int, int] | None) -> tuple[int, int] | None:
    """Stream events report cumulative counts, some only one side: the largest of each is right."""
    if seen is None or more is None:
        return seen or more
    return max(seen[0], more[0]), max(seen[1], more[1])


class FrameSplitter:
    """Cuts a server-sent event stream into whole frames, whatever the chunks."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._rest += chunk
        while True:
            cut = min(
                (i for i in (self._rest.find(b"\n\n"), self._rest.find(b"\r\n\r\n")) if i >= 0), default=-1
            )
            if cut < 0:
                return
            width = 4 if self._rest.startswith(b"\r\n\r\n", cut) else 2
            frame, self._rest = self._rest[: cut + width], self._rest[cut + width :]
            yield frame

    def rest(self) -> bytes:
        return self._rest


def parse_frame(frame: bytes) -> dict[str, object]:
    """`{"event"?: name, "data": JSON or text}`; a comment-only frame has no data."""
    out: dict[str, object] = {}
    data: list[str] = []
    for line in _LINE_END.split(frame.decode("utf-8", "replace")):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            out["event"] = value
        elif name == "data":
            data.append(value)
    if data:
        out["data"] = _json_or_text("\n".join(data))
    return out


def render_frame(frame: dict[str, object]) -> bytes:
    """The bytes of a recorded frame."""
    lines = [f"event: {frame['event']}"] if "event" in frame else []
    if "data" in frame:
        data = frame["data"]
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        lines += [f"data: {line}" for line in text.split("\n")]
    return ("\n".join(lines or [":"]) + "\n\n").encode()


def _json_or_text(text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def is_usage_only(frame: dict[str, object]) -> bool:
    """The frame that `include_usage` adds."""
    data = frame.get("data")
    return isinstance(data, dict) and data.get("choices") == [] and isinstance(data.get("usage"), dict)


def error_body(path: str, status: int, kind: str, message: str) -> dict[str, object]:
    """An error in the shape that the clients of this path understand."""
    spoken = format_of(path)
    if spoken == "gemini":
        return {"error": {"code": status, "message": message, "status": kind.upper()}}
    if spoken == "messages":
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "code": kind, "param": None}}


def frames_of(response: object) -> list[dict[str, object]] | None:
    """The recorded frames of a streamed answer, or None for a plain one."""
    if isinstance(response, dict) and isinstance(response.get("frames"), list):
        return cast(list[dict[str, object]], response["frames"])
    return None


STREAM_ERRORS = (httpx2.HTTPError, httpx2.StreamError)
"""What reading an upstream's stream may raise."""


def storable(value: object) -> object:
    """`value`, or, when it can't be written as UTF-8 JSON (lone surrogates, NaN), the nearest that can."""
    try:
        canonical_json(value)
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
        return json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return json.loads(json.dumps(value), parse_constant=lambda name: name)
    return value
