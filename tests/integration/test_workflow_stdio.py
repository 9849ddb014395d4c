"""The transport to a child process hands on only what somebody waits for, however much it is sent."""

import asyncio
import sys

import pytest
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCRequest, JSONRPCResponse

from workflows.servers.stdio import MOST_QUESTIONS, StdioTransport
from workflows.servers.wire_errors import UNKNOWN

GUARD = 60
ANSWER = """
print('{"jsonrpc": "2.0", "id": 1, "result": {}}', flush=True)
input()
"""


def told(program: str) -> list[SessionMessage]:
    """Everything up to the answer to request 1."""

    async def listen() -> list[SessionMessage]:
        found: list[SessionMessage] = []
        async with (
            asyncio.timeout(GUARD),
            StdioTransport(sys.executable, ["-c", program], {}, "/", 1 << 20) as (reading, _),
        ):
            async for message in reading:
                assert isinstance(message, SessionMessage)
                found.append(message)
                if isinstance(message.message, JSONRPCResponse):
                    return found
        return found

    return asyncio.run(listen())


@pytest.mark.parametrize(
    "lines",
    [
        '{"jsonrpc": "2.0", "method": "notifications/message", "params": {}}',
        '{"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}',
        "Listening…",
        "",
        "[1]",
        "[" * 50_000,
        '{"jsonrpc": "2.0"}',
        '{"jsonrpc": "2.0", "id": true, "result": {}}',
        '{"jsonrpc": "1.0", "id": 7, "method": 3}',
    ],
)
def test_what_nobody_waits_for_is_dropped(lines: str) -> None:
    assert len(told(f"for _ in range(3): print({lines!r})\n{ANSWER}")) == 1


def test_changes_are_handed_on() -> None:
    line = '{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}'
    assert len(told(f"print({line!r})\n{ANSWER}")) == 2


def test_an_answer_that_is_none_ends_the_waiting() -> None:
    found = told(f"""print('{{"jsonrpc": "2.0", "id": 7, "result": 3}}')\n{ANSWER}""")[0].message
    assert isinstance(found, JSONRPCError)
    assert (found.id, found.error.code) == (7, UNKNOWN)


def test_of_questions_only_so_many_wait_for_an_answer() -> None:
    line = '{{"jsonrpc": "2.0", "id": "q{}", "method": "ping"}}'
    found = told(f"for index in range(500): print({line!r}.format(index))\n{ANSWER}")
    assert [isinstance(one.message, JSONRPCRequest) for one in found] == [True] * MOST_QUESTIONS + [False]


def test_a_message_may_come_in_pieces() -> None:
    pieces = 'import sys, time\nfor part in [\'{"jsonrpc": "2.0", "id"\', \': 1, "res\', \'ult": {"a": "é"}}\\n\']:\n'
    found = told(
        pieces + "    sys.stdout.write(part)\n    sys.stdout.flush()\n    time.sleep(0.05)\ninput()\n"
    )
    assert isinstance(found[0].message, JSONRPCResponse)
    assert found[0].message.result == {"a": "é"}
