"""Model calls in the OpenAI chat format, through the gateway."""

import json
from typing import Any

import httpx2

from harness.turn import AnswerForm, ModelReply, ModelRequest, ToolAsk, Usage


class ModelError(Exception):
    """The model could not be asked, or what it said is no chat completion."""


class Model:
    def __init__(self, http: httpx2.AsyncClient, name: str) -> None:
        self._http = http
        self.name = name

    async def complete(self, request: ModelRequest, request_id: str) -> ModelReply:
        """One completion. Raises ModelError."""
        body: dict[str, Any] = {"model": request.model or self.name, "messages": list(request.messages)}
        if request.tools:
            body["tools"] = list(request.tools)
        if request.form:
            body |= _fields(request.form)
        try:
            response = await self._http.post(
                "/v1/chat/completions", json=body, headers={"x-request-id": request_id}
            )
        except httpx2.HTTPError as error:
            raise ModelError(f"no answer from the gateway: {type(error).__name__}: {error}") from error
        if response.status_code != 200:
            raise ModelError(f"status {response.status_code}: {response.text[:500]}")
        try:
            return parse(response.json())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelError(f"no chat completion: {error!r}") from error


def _fields(form: AnswerForm) -> dict[str, Any]:
    fields: dict[str, Any] = {"max_tokens": form.max_tokens, "temperature": 0.0}
    if form.seed is not None:
        fields["seed"] = form.seed
    if form.schema is not None:
        schema = {"name": "answer", "schema": form.schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields


def parse(body: Any) -> ModelReply:
    """Read a chat completion. Raises LookupError, TypeError, ValueError or AttributeError when it is none."""
    choice = body["choices"][0]
    message, usage = choice["message"], body.get("usage") or {}
    content = message.get("content")
    return ModelReply(
        content=content if content is None else str(content),
        asks=_asks(message.get("tool_calls") or []),
        finish_reason=str(choice.get("finish_reason") or "stop"),
        usage=Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)),
    )


def _asks(entries: list[Any]) -> tuple[ToolAsk, ...]:
    """Every call gets an id of its own: results are told apart by it, and some models repeat or omit them."""
    asks: dict[str, ToolAsk] = {}
    for position, entry in enumerate(entries):
        call_id, function = str(entry.get("id") or f"call_{position}"), entry["function"]
        while call_id in asks:
            call_id += f"_{position}"
        arguments = function.get("arguments") or "{}"
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        asks[call_id] = ToolAsk(call_id, str(function["name"]), text)
    return tuple(asks.values())
