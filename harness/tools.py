"""All tool servers together: what there is, under which name the model knows it, and calling it."""

import asyncio
import re
import traceback
from collections.abc import Iterable
from typing import Any

import httpx2

from harness.mcp import McpServer, Refused, ServerFailed
from harness.turn import ToolCall, TurnContext
from workflows.catalog import Catalog, ToolSpec, catalog, read_listing
from workflows.results import ToolAnswer, read_result

NAME_LIMIT = 64


class Toolbox:
    def __init__(self, http: httpx2.AsyncClient, servers: Iterable[str]) -> None:
        self._servers = {name: McpServer(http, name) for name in servers}
        self._listed: dict[str, list[ToolSpec]] = {}
        self._discovering = asyncio.Lock()

    async def discover(self, context: TurnContext) -> Catalog:
        """The catalog. Servers are asked once; one that fails is missing from this turn, and asked again."""
        async with self._discovering:
            missing = [name for name in self._servers if name not in self._listed]
            answers = await asyncio.gather(*(self._list(name, context) for name in missing))
        for name, answer in zip(missing, answers, strict=True):
            if isinstance(answer, list):
                self._listed[name] = answer
            else:
                trace = "".join(traceback.format_exception(answer))
                kind = type(answer).__name__
                context.log.emit("error", where="tools", type=kind, message=str(answer), traceback=trace)
        return catalog(spec for specs in self._listed.values() for spec in specs)

    async def call(self, call: ToolCall, request_id: str) -> ToolAnswer:
        """Raises ServerFailed when it is not known whether the tool did anything."""
        headers = {"x-request-id": request_id, "x-call-id": call.call_id}
        try:
            result = await self._servers[call.server].call_tool(call.tool, call.arguments, headers)
        except Refused as error:
            return ToolAnswer(str(error), True, None)
        return read_result(result, tool=call.tool)

    async def _list(self, name: str, context: TurnContext) -> list[ToolSpec] | ServerFailed | Refused:
        try:
            tools = await self._servers[name].list_tools({"x-request-id": context.request_id})
        except (ServerFailed, Refused) as error:
            return error
        return read_listing(name, tools)


def model_name(spec: ToolSpec) -> str:
    """`server__tool`, in the letters that the OpenAI format admits."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{spec.server}__{spec.name}")[:NAME_LIMIT]


def by_model_name(tools: Catalog) -> dict[str, ToolSpec]:
    return {model_name(spec): spec for spec in tools}


def definitions(tools: Catalog) -> tuple[dict[str, Any], ...]:
    """The catalog in the OpenAI format."""
    return tuple(
        {
            "type": "function",
            "function": {
                "name": name,
                "description": spec.description,
                "parameters": dict(spec.input_schema) or {"type": "object", "properties": {}},
            },
        }
        for name, spec in by_model_name(tools).items()
    )
