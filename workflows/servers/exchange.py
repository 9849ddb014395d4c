"""One tool call to a server, and what its answer comes to.

An outcome is uncertain wherever the call may have done something and there is no result that can be used, so that nobody
just calls again: no answer, a broken one, one that is too large, one that is not of the type that the tool declares.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from jsonschema.protocols import Validator
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
)
from pydantic import RootModel, ValidationError

from workflows.calling import Outcome
from workflows.compiled import complaint
from workflows.results import read_result
from workflows.schemas import UNREADABLE
from workflows.servers.link import Limits, one_line
from workflows.servers.wire_errors import SESSION_LOST, UNKNOWN

ERROR_SHOWN = 2000
_NO_ANSWER = frozenset({CONNECTION_CLOSED, REQUEST_TIMEOUT, UNKNOWN})
_ASK_AGAIN = frozenset({SESSION_LOST, HEADER_MISMATCH})


class Exchange(NamedTuple):
    outcome: Outcome
    end: Literal["heard", "lost", "silent", "forgotten"]
    """`lost`: there was no answer, and there will be none; `silent`: none in time; `forgotten`: nothing was done, and it may
    work in a new session that has asked for the tools again."""


class _Raw(RootModel[dict[str, Any]]):
    """A result as it came; `mcp` has checked its form by then."""


async def exchange(
    client: Client, tool: str, arguments: Mapping[str, object], seconds: float
) -> Exchange | dict[str, Any]:
    """The result as it came, or why there is none."""
    request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=dict(arguments)))
    try:
        async with asyncio.timeout(seconds):
            raw = await client.session.send_request(request, _Raw)
    except TimeoutError:
        return Exchange(Outcome(None, f"no answer within {seconds:g} s", uncertain=True), "silent")
    except MCPError as error:
        code, message = error.error.code, one_line(error.error.message, ERROR_SHOWN)
        if code in _NO_ANSWER:
            return Exchange(Outcome(None, message, uncertain=True), "lost")
        return Exchange(Outcome(None, message), "forgotten" if code in _ASK_AGAIN else "heard")
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        message = f"its result is none of tools/call: {place}: {wrong['msg']}"
        return Exchange(Outcome(None, one_line(message), uncertain=True), "heard")
    return raw.root


def judged(
    result: Mapping[str, Any], tool: str, output: Validator | None, failures: Sequence[str], limits: Limits
) -> Outcome:
    """`output` is of the tool's declared type; None: it declares none."""
    if result.get("resultType") == "input_required":
        return Outcome(None, "the tool asks for more input, and nobody is there to give it")
    size = len(json.dumps(result, ensure_ascii=False))
    if size > limits.result_bytes:
        message = f"its result has {size} bytes, and no more than {limits.result_bytes} are taken"
        return Outcome(None, message, uncertain=True)
    answer = read_result(result, tool=tool, failures=failures)
    if answer.is_error:
        return Outcome(answer.value, answer.content[:ERROR_SHOWN] or "the tool failed, and says no more")
    wrong = _wrong(result, output) if output is not None else None
    if wrong:
        message = f"its result is not of the type that the tool declares: {wrong}"
        return Outcome(answer.value, message, uncertain=True)
    return Outcome(answer.value)


def _wrong(result: Mapping[str, Any], output: Validator) -> str | None:
    if result.get("structuredContent") is None:
        return "there is no structured content"
    try:
        return complaint(output, result["structuredContent"])
    except UNREADABLE as error:
        return f"the type can't be read: {one_line(str(error))}"
