"""A model behind an OpenAI-compatible endpoint: for a workflow's model steps, and for planning."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import httpx2

from workflows.calling import ModelRequest, Outcome

MOST_BYTES = 1 << 20
SECONDS = 60.0


class ModelFailed(Exception):
    """No answer that can be used; the message says why in a line."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text
        """Of an answer that was cut off, what there is."""


class Said(NamedTuple):
    text: str
    prompt_tokens: int
    completion_tokens: int


class Asked(Protocol):
    """A model that counts what it costs."""

    @property
    def tokens(self) -> int: ...

    async def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Said:
        """Raises ModelFailed."""
        ...


@dataclass
class ChatModel:
    """Counts the tokens that the endpoint says it used, over all calls."""

    http: httpx2.AsyncClient
    base_url: str
    """With its version: `http://127.0.0.1:8000/v1`."""
    model: str
    api_key: str = "none"
    seconds: float = SECONDS
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    async def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        seed: int | None = None,
        model: str | None = None,
    ) -> Said:
        """What the model says. `schema`: the server is asked to hold it to this JSON Schema, which not every one can.
        Raises ModelFailed: unreachable, refused, cut off at `max_tokens`, or more than 1 MiB."""
        body: dict[str, Any] = {
            "model": model or self.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if seed is not None:
            body["seed"] = seed
        if schema is not None:
            form = {"name": "answer", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        self.calls += 1
        reply = await self._post(body)
        found = reply.get("usage")
        usage = found if isinstance(found, dict) else {}
        said = Said("", _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
        self.prompt_tokens += said.prompt_tokens
        self.completion_tokens += said.completion_tokens
        try:
            [choice, *_] = reply["choices"]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (LookupError, TypeError, ValueError):
            raise ModelFailed(f"{self.base_url}: the answer has no choices") from None
        if reason == "length":
            begun = text if isinstance(text, str) else ""
            raise ModelFailed(f"the model's answer was cut off at {max_tokens} tokens", begun)
        if not isinstance(text, str):
            raise ModelFailed("the model answered without a text")
        return said._replace(text=text)

    async def ask(self, request: ModelRequest) -> Outcome:
        """A model step's question."""
        try:
            said = await self.complete(
                [{"role": "user", "content": request.prompt}],
                schema=request.answer,
                max_tokens=request.max_tokens,
                model=request.model,
            )
        except ModelFailed as error:
            return Outcome(None, str(error))
        return read_answer(request, said.text)

    async def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        headers = {"authorization": f"Bearer {self.api_key}"}
        data = b""
        try:
            async with self.http.stream(
                "POST", url, json=body, headers=headers, timeout=self.seconds
            ) as response:
                async for part in response.aiter_bytes():
                    data += part
                    if len(data) > MOST_BYTES:
                        raise ModelFailed(f"{self.base_url}: the answer is longer than {MOST_BYTES} bytes")
        except httpx2.HTTPError as error:
            raise ModelFailed(f"{self.base_url}: {type(error).__name__}: {error}".rstrip(": ")) from None
        if response.status_code != 200:
            raise ModelFailed(
                f"{self.base_url}: status {response.status_code}: {data[:200].decode(errors='replace')}"
            )
        try:
            reply = json.loads(data)
        except (ValueError, RecursionError):
            raise ModelFailed(f"{self.base_url}: the answer is no JSON") from None
        if not isinstance(reply, dict):
            raise ModelFailed(f"{self.base_url}: the answer is no JSON object")
        return reply


def read_answer(request: ModelRequest, text: str) -> Outcome:
    """What a model step makes of what the model said."""
    if request.answer is None:
        return Outcome(text)
    try:
        return Outcome(json.loads(text))
    except (ValueError, RecursionError):
        return Outcome(text, "the model's answer is no JSON")


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
