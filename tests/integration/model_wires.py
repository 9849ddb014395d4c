"""Four wire formats of model servers: what a request asks for, and how its answers look, streamed or whole."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from model_tools import Act, Asked, Custom, Tool, Words

INPUT = 100
"""Tokens of every request, as these servers count."""


class Wire(ABC):
    """One request in one format, and how its answers look."""

    asked: Asked
    streams: bool

    @abstractmethod
    def events(self, act: Act, output: int) -> Iterator[tuple[str | None, Any]]:
        """The answer as a stream: event names, where the format has such, and data."""

    @abstractmethod
    def whole(self, act: Act, output: int) -> dict[str, Any]: ...

    @abstractmethod
    def refusal(self) -> Iterator[tuple[str | None, Any]]:
        """The model declines, as a stream."""

    @abstractmethod
    def refusal_whole(self) -> dict[str, Any]: ...

    def error(self, status: int, kind: str, message: str, fault: str) -> dict[str, Any]:
        code = "context_length_exceeded" if fault == "overflow" else kind
        return {"error": {"message": message, "type": kind, "code": code, "param": None}}


class Chat(Wire):
    def __init__(self, path: str, body: dict[str, Any]) -> None:
        tools = {t["function"]["name"]: t["function"].get("parameters", {}) for t in body.get("tools") or ()}
        results = sum(message.get("role") == "tool" for message in body["messages"])
        self.asked = Asked(tools, results, json.dumps(body["messages"], ensure_ascii=False))
        self.streams = bool(body.get("stream"))
        self.base = {"id": "chatcmpl-1", "created": int(time.time()), "model": body.get("model", "")}

    def _message(self, act: Act) -> tuple[dict[str, Any], str]:
        if isinstance(act, Words):
            return {"role": "assistant", "content": act.text}, "stop"
        function = {"name": act.name, "arguments": json.dumps(act.arguments)}
        call = {"id": f"call_{self.asked.results}", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"

    def whole(self, act: Act, output: int, finish: str = "") -> dict[str, Any]:
        message, reason = self._message(act)
        choice = {"index": 0, "message": message, "finish_reason": finish or reason}
        return {**self.base, "object": "chat.completion", "choices": [choice], "usage": _openai_usage(output)}

    def events(self, act: Act, output: int, finish: str = "") -> Iterator[tuple[str | None, Any]]:
        message, reason = self._message(act)

        def chunk(delta: dict[str, Any], end: str | None = None) -> tuple[None, dict[str, Any]]:
            choice = {"index": 0, "delta": delta, "finish_reason": end}
            return None, {**self.base, "object": "chat.completion.chunk", "choices": [choice]}

        yield chunk({"role": "assistant", "content": ""})
        for call in message.get("tool_calls", ()):
            text = call["function"]["arguments"]
            named = {**call, "index": 0, "function": {"name": call["function"]["name"], "arguments": ""}}
            yield chunk({"tool_calls": [named]})
            for part in (text[: len(text) // 2], text[len(text) // 2 :]):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        if message["content"]:
            yield chunk({"content": message["content"]})
        yield chunk({}, finish or reason)
        usage = {"object": "chat.completion.chunk", "choices": [], "usage": _openai_usage(output)}
        yield None, {**self.base, **usage}
        yield None, "[DONE]"

    def refusal(self) -> Iterator[tuple[str | None, Any]]:
        return self.events(Words(""), 5, "content_filter")

    def refusal_whole(self) -> dict[str, Any]:
        return self.whole(Words(""), 5, "content_filter")


class Responses(Wire):
    def __init__(self, path: str, body: dict[str, Any]) -> None:
        tools: dict[str, Any] = {}
        for tool in body.get("tools") or ():
            if tool.get("type") == "function":
                tools[tool["name"]] = tool.get("parameters", {})
            elif tool.get("type") == "custom":
                tools[tool["name"]] = None
        given = body.get("input")
        items = given if isinstance(given, list) else []
        results = sum(str(item.get("type", "")).endswith("_call_output") for item in items)
        self.asked = Asked(tools, results, json.dumps(body, ensure_ascii=False))
        self.streams = bool(body.get("stream"))
        self.model = body.get("model", "")

    def _item(self, act: Act) -> dict[str, Any]:
        call = f"call_{self.asked.results}"
        if isinstance(act, Tool):
            told = {"name": act.name, "arguments": json.dumps(act.arguments)}
            return {
                "type": "function_call",
                "id": f"fc_{call}",
                "call_id": call,
                "status": "completed",
                **told,
            }
        if isinstance(act, Custom):
            told = {"name": act.name, "input": act.text}
            return {
                "type": "custom_tool_call",
                "id": f"ct_{call}",
                "call_id": call,
                "status": "completed",
                **told,
            }
        part = {"type": "output_text", "text": act.text, "annotations": []}
        return _responses_message(part)

    def _response(
        self, items: list[dict[str, Any]], output: int, status: str = "completed"
    ) -> dict[str, Any]:
        usage = {
            "input_tokens": INPUT,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT + output,
        }
        head = {"id": "resp_1", "object": "response", "created_at": int(time.time()), "model": self.model}
        return {**head, "status": status, "output": items, "usage": usage if status == "completed" else None}

    def whole(self, act: Act, output: int) -> dict[str, Any]:
        return self._response([self._item(act)], output)

    def events(self, act: Act, output: int) -> Iterator[tuple[str | None, Any]]:
        return self._events(self._item(act), output)

    def _events(self, item: dict[str, Any], output: int) -> Iterator[tuple[str | None, Any]]:
        told: list[dict[str, Any]] = [
            {"type": "response.created", "response": self._response([], output, "in_progress")},
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "status": "in_progress"},
            },
        ]
        if item["type"] == "message" and item["content"][0]["type"] == "output_text":
            where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
            text = item["content"][0]["text"]
            told.append({"type": "response.output_text.delta", "delta": text, **where})
            told.append({"type": "response.output_text.done", "text": text, **where})
        told.append({"type": "response.output_item.done", "output_index": 0, "item": item})
        told.append({"type": "response.completed", "response": self._response([item], output)})
        for number, event in enumerate(told):
            yield event["type"], {**event, "sequence_number": number}

    def refusal(self) -> Iterator[tuple[str | None, Any]]:
        return self._events(_responses_message({"type": "refusal", "refusal": "I can't help with that."}), 5)

    def refusal_whole(self) -> dict[str, Any]:
        return self._response([_responses_message({"type": "refusal", "refusal": "No."})], 5)


def _responses_message(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


class Messages(Wire):
    def __init__(self, path: str, body: dict[str, Any]) -> None:
        tools = {t["name"]: t["input_schema"] for t in body.get("tools") or () if "input_schema" in t}
        parts = [p for m in body["messages"] if isinstance(m["content"], list) for p in m["content"]]
        results = sum(part.get("type") == "tool_result" for part in parts)
        self.asked = Asked(tools, results, json.dumps(body, ensure_ascii=False))
        self.streams = bool(body.get("stream"))
        self.model = body.get("model", "")

    def _block(self, act: Act) -> tuple[dict[str, Any], str]:
        if isinstance(act, Tool):
            call = f"toolu_{self.asked.results}"
            return {"type": "tool_use", "id": call, "name": act.name, "input": act.arguments}, "tool_use"
        assert isinstance(act, Words)
        return {"type": "text", "text": act.text}, "end_turn"

    def whole(self, act: Act, output: int, stop: str = "") -> dict[str, Any]:
        block, reason = self._block(act)
        return {
            "id": f"msg_{self.asked.results}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [block],
            "stop_reason": stop or reason,
            "stop_sequence": None,
            "usage": {"input_tokens": INPUT, "output_tokens": output},
        }

    def events(self, act: Act, output: int, stop: str = "") -> Iterator[tuple[str | None, Any]]:
        whole = self.whole(act, output, stop)
        block = whole["content"][0]
        if block["type"] == "tool_use":
            text = json.dumps(block["input"])
            halves = (text[: len(text) // 2], text[len(text) // 2 :])
            deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves]
            empty = {**block, "input": {}}
        else:
            deltas, empty = [{"type": "text_delta", "text": block["text"]}], {"type": "text", "text": ""}
        start = {
            **whole,
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": INPUT, "output_tokens": 1},
        }
        end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        told: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": whole["usage"]},
            {"type": "message_stop"},
        ]
        return iter([(event["type"], event) for event in told])

    def refusal(self) -> Iterator[tuple[str | None, Any]]:
        return self.events(Words(""), 5, "refusal")

    def refusal_whole(self) -> dict[str, Any]:
        return self.whole(Words(""), 5, "refusal")

    def error(self, status: int, kind: str, message: str, fault: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": kind, "message": message}}


class Gemini(Wire):
    def __init__(self, path: str, body: dict[str, Any]) -> None:
        declared = [d for t in body.get("tools") or () for d in t.get("functionDeclarations", ())]
        tools = {d["name"]: d.get("parametersJsonSchema") or d.get("parameters") or {} for d in declared}
        parts = [part for content in body.get("contents", ()) for part in content.get("parts", ())]
        results = sum("functionResponse" in part for part in parts)
        self.asked = Asked(tools, results, json.dumps(body, ensure_ascii=False))
        self.streams = "streamGenerateContent" in path
        self.wants_json = "json" in str(body.get("generationConfig", {}).get("responseMimeType", ""))

    def whole(self, act: Act, output: int, finish: str = "STOP") -> dict[str, Any]:
        part: dict[str, Any] = {"text": act.text} if isinstance(act, Words) else {}
        if isinstance(act, Tool):
            part = {"functionCall": {"name": act.name, "args": act.arguments}}
        elif self.wants_json:
            part = {"text": "{}"}
        usage = {"promptTokenCount": INPUT, "candidatesTokenCount": output, "totalTokenCount": INPUT + output}
        content = {"role": "model", "parts": [part]}
        candidate = {"content": content, "finishReason": finish, "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}

    def events(self, act: Act, output: int) -> Iterator[tuple[str | None, Any]]:
        whole = self.whole(act, output)
        unfinished = {**whole["candidates"][0], "finishReason": None}
        yield None, {**whole, "candidates": [{k: v for k, v in unfinished.items() if v is not None}]}
        last = {**whole["candidates"][0], "content": {"role": "model", "parts": [{"text": ""}]}}
        yield None, {**whole, "candidates": [last]}
        yield None, {**whole, "candidates": [last]}

    def refusal(self) -> Iterator[tuple[str | None, Any]]:
        yield None, self.whole(Words(""), 5, "SAFETY")

    def refusal_whole(self) -> dict[str, Any]:
        return self.whole(Words(""), 5, "SAFETY")

    def error(self, status: int, kind: str, message: str, fault: str) -> dict[str, Any]:
        words = {429: "RESOURCE_EXHAUSTED", 401: "UNAUTHENTICATED", 400: "INVALID_ARGUMENT"}
        if fault == "overflow":
            message = "The input token count (300000) exceeds the maximum number of tokens allowed (200000)."
        return {"error": {"code": status, "message": message, "status": words.get(status, "INTERNAL")}}


WIRES = {"/chat/completions": Chat, "/responses": Responses, "/messages": Messages}


def _openai_usage(output: int) -> dict[str, int]:
    return {"prompt_tokens": INPUT, "completion_tokens": output, "total_tokens": INPUT + output}


def wire_of(path: str) -> type[Chat] | type[Responses] | type[Messages] | type[Gemini]:
    """The format that is spoken at a path."""
    return next((wire for ending, wire in WIRES.items() if path.endswith(ending)), Gemini)
