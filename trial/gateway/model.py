"""Model calls to the configured upstream: the key is added here, the cost is reserved here."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import httpx2

from trial.gateway import wire
from trial.gateway.config import Price, Upstream
from trial.gateway.meter import Cost, Meter, OverBudget, price_of

_PASSED_HEADERS = ("anthropic-version", "anthropic-beta", "openai-beta")


@dataclass
class ModelAnswer:
    """What a model call gives: a JSON (or text) body, or frames that arrive one by one."""

    status: int
    body: object = None
    frames: AsyncIterator[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    arena: str | None = None
    """Set when this answer says nothing about the caller: our budget, our upstream, our network."""


class ModelSource:
    """Made and used inside one event loop; the meter may be shared between threads."""

    def __init__(self, upstream: Upstream | None, meter: Meter, max_body: int) -> None:
        self._upstream = upstream
        self._meter = meter
        self._max = max_body
        self._key = upstream.api_key() if upstream else None
        self._client: httpx2.AsyncClient | None = None

    async def call(
        self, path: str, body: dict[str, object], size: int, headers: Mapping[str, str]
    ) -> ModelAnswer:
        """Forward one call. Never raises for what the upstream does."""
        upstream = self._upstream
        if upstream is None:
            return _trouble(path, 502, "no_upstream", "this gateway has no model upstream")
        if self._meter.caps.micro_usd is not None and wire.price_for(upstream, path, body) is None:
            model = wire.model_of(path, body)
            message = f"no price for model {model!r}, so the money cap can't hold; add upstream.prices"
            return _trouble(path, 400, "no_price", message)
        try:
            reserved = self._meter.reserve(wire.worst_case(path, body, size, upstream))
        except OverBudget as error:
            kind = "billing_error" if wire.format_of(path) == "messages" else "insufficient_quota"
            return _trouble(path, 402, kind, str(error))
        bill = _Bill(self._meter, wire.price_for(upstream, path, body), reserved)
        try:
            return await self._forward(path, body, headers, bill)
        except httpx2.TimeoutException as error:
            bill.settle()
            return _trouble(path, 504, "upstream_timeout", f"model upstream: {type(error).__name__}")
        except httpx2.ConnectError as error:
            bill.void()
            return _trouble(path, 502, "upstream_unreachable", f"model upstream: {error}")
        except httpx2.HTTPError as error:
            bill.settle()
            return _trouble(path, 502, "upstream_failed", f"model upstream: {error!r}")
        except asyncio.CancelledError:
            bill.settle()
            raise

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _forward(
        self, path: str, body: dict[str, object], headers: Mapping[str, str], bill: "_Bill"
    ) -> ModelAnswer:
        assert self._upstream is not None
        hide_usage = False
        if self._meter.caps.micro_usd is not None or self._meter.caps.tokens is not None:
            body, hide_usage = wire.bounded(path, body, self._upstream)
        client = self._open()
        request = client.build_request(
            "POST", _join(self._upstream.base_url, path), json=body, headers=self._headers(path, headers)
        )
        response = await client.send(request, stream=True)
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return ModelAnswer(response.status_code, frames=self._frames(response, bill, hide_usage))
        try:
            raw = await _read_capped(response, self._max)
        finally:
            await response.aclose()
        if raw is None:
            bill.settle()
            return _trouble(path, 502, "upstream_too_large", f"model upstream: answer over {self._max} bytes")
        try:
            answer: object = json.loads(raw)
        except ValueError:
            answer = {"text": raw.decode("utf-8", "replace")}
        usage = wire.usage_of(answer)
        if usage is None and (response.status_code >= 400 or wire.is_free(path)):
            usage = (0, 0)  # a refused call costs nothing
        bill.settle(usage)
        arena = f"upstream answered {response.status_code}" if _is_arena(response.status_code) else None
        return ModelAnswer(response.status_code, answer, arena=arena, headers=_told(response.headers))

    async def _frames(
        self, response: httpx2.Response, bill: "_Bill", hide_usage: bool
    ) -> AsyncIterator[bytes]:
        splitter, usage, total, whole = wire.FrameSplitter(), None, 0, False
        try:
            async for chunk in response.aiter_bytes():
                total += len(chunk)
                if total > self._max:
                    raise httpx2.ReadError(f"stream over {self._max} bytes")
                for frame in splitter.feed(chunk):
                    parsed = wire.parse_frame(frame)
                    usage = wire.merge_usage(usage, wire.usage_of(parsed.get("data")))
                    whole = whole or wire.tells_output(parsed.get("data"))
                    if not (hide_usage and wire.is_usage_only(parsed)):
                        yield frame
            if splitter.rest().strip():
                yield splitter.rest() + b"\n\n"
            bill.settle(usage if whole else None)
        finally:
            bill.settle()  # a stream that was cut told of a part at most
            await response.aclose()

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            assert self._upstream is not None
            self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(self._upstream.timeout, connect=10.0), trust_env=True
            )
        return self._client

    def _headers(self, path: str, given: Mapping[str, str]) -> dict[str, str]:
        out = {name: given[name] for name in _PASSED_HEADERS if name in given}
        spoken = wire.format_of(path)
        if self._key is not None and spoken == "messages":
            out["x-api-key"] = self._key
        elif self._key is not None and spoken == "gemini":
            out["x-goog-api-key"] = self._key
        elif self._key is not None:
            out["authorization"] = f"Bearer {self._key}"
        return out


class _Bill:
    """One reservation, settled exactly once."""

    def __init__(self, meter: Meter, price: Price | None, reserved: Cost) -> None:
        self._meter, self._price, self._reserved = meter, price, reserved
        self._open = True

    def settle(self, usage: tuple[int, int] | None = None) -> None:
        """By the reported usage; without one, the worst case stays spent."""
        if usage is None:
            self._close(self._reserved)
        else:
            self._close(Cost(price_of(self._price, *usage), sum(usage), 1))

    def void(self) -> None:
        """Nothing was sent."""
        self._close(Cost())

    def _close(self, actual: Cost) -> None:
        if self._open:
            self._open = False
            self._meter.settle(self._reserved, actual)


def _trouble(path: str, status: int, kind: str, message: str) -> ModelAnswer:
    return ModelAnswer(status, wire.error_body(path, status, kind, message), arena=message)


def _is_arena(status: int) -> bool:
    """A rate limit, a wrong key or a broken upstream is never the candidate's failure."""
    return status in (401, 402, 403, 408, 429) or status >= 500


def _join(base_url: str, path: str) -> str:
    query = "?alt=sse" if path.endswith(":streamGenerateContent") else ""
    return base_url.rstrip("/").removesuffix("/v1").removesuffix("/v1beta") + path + query


def _told(headers: Mapping[str, str]) -> dict[str, str]:
    """What of an upstream's headers a client must know: when to come again."""
    return {name: headers[name] for name in ("retry-after",) if name in headers}


async def _read_capped(response: httpx2.Response, limit: int) -> bytes | None:
    raw = bytearray()
    async for chunk in response.aiter_bytes():
        raw += chunk
        if len(raw) > limit:
            return None
    return bytes(raw)
