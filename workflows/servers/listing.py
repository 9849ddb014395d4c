"""All pages of a server's `tools/list`, and what of it can be relied on."""

import asyncio
from dataclasses import replace
from typing import Any

from mcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from workflows.catalog import ToolSpec
from workflows.schemas import broken
from workflows.servers.link import Limits, ServerDown, one_line


async def ask_for_tools(client: Client, limits: Limits) -> list[Any]:
    """The entries as they came. Raises ServerDown: half a listing is none."""
    try:
        async with asyncio.timeout(limits.start_seconds):
            return await _pages(client, limits)
    except TimeoutError:
        raise ServerDown(f"tools/list was not answered within {limits.start_seconds:g} s") from None
    except MCPError as error:
        raise ServerDown(f"tools/list: {one_line(error.error.message)}") from None
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise ServerDown(f"its answer to tools/list is broken: {place}: {wrong['msg']}") from None


async def _pages(client: Client, limits: Limits) -> list[Any]:
    entries: list[Any] = []
    cursor: str | None = None
    for _ in range(limits.most_pages):
        page = await client.list_tools(cursor=cursor)
        entries += [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in page.tools]
        if len(entries) > limits.most_tools:
            raise ServerDown(f"it has more than {limits.most_tools} tools")
        if not page.next_cursor:
            return entries
        if page.next_cursor == cursor:
            raise ServerDown(f"tools/list goes in circles at {one_line(cursor, 40)}")
        cursor = page.next_cursor
    raise ServerDown(f"tools/list goes on after {limits.most_pages} pages")


def relied_on(specs: list[ToolSpec]) -> tuple[list[ToolSpec], list[str]]:
    """Without output schemas that are none, as if the server had not said what the tool returns; and what is odd."""
    notes = [
        f"{spec.name}: its input schema is none: {wrong}"
        for spec in specs
        if (wrong := broken(spec.input_schema))
    ]
    usable: list[ToolSpec] = []
    for spec in specs:
        wrong = broken(spec.output_schema) if spec.output_schema is not None else None
        if wrong:
            notes.append(f"{spec.name}: its output schema is none: {wrong}")
        usable.append(replace(spec, output_schema=None) if wrong else spec)
    return usable, notes
