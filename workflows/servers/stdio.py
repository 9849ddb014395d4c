"""A transport for `mcp.Client` to a server that is a child process: JSON-RPC messages, one a line.

Unlike the library's own it bounds what a broken or hostile server can do to us: a line has a greatest length, what is no
message is dropped, notifications that nobody here waits for are dropped before they cost a task each, and what the server
writes on stderr is kept, the end of it, and never reaches our terminal. It knows when the server is gone.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse, jsonrpc_message_adapter

from workflows.servers.wire_errors import UNKNOWN

STDERR_KEPT = 8192
CHUNK = 65536
GRACE_SECONDS = 2.0
"""To end by itself after its stdin is closed, and again after SIGTERM."""
MOST_QUESTIONS = 64
"""Of the server to us, that are not answered yet; more are dropped."""
HEARD = frozenset(
    f"notifications/{name}" for name in ("tools/list_changed", "subscriptions/acknowledged", "cancelled")
)
_CLOSED = (ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError)
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class StdioTransport:
    """An async context manager, entered once. Entering raises OSError when the program can't be started."""

    def __init__(
        self, command: str, args: Sequence[str], env: Mapping[str, str], cwd: str, longest_line: int
    ) -> None:
        self._command = [command, *args]
        self._env, self._cwd, self._longest = {**get_default_environment(), **env}, cwd, longest_line
        self._tasks: list[asyncio.Task[None]] = []
        self._stderr = b""
        self._process: asyncio.subprocess.Process | None = None
        self._questions = 0
        self._swept = False
        self.over = False
        """No answer will come any more."""
        self.reason = ""
        """Why, as far as it is known."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def stderr(self) -> str:
        """The end of what the server wrote there."""
        return self._stderr.decode(errors="replace").strip()

    async def __aenter__(self) -> Streams:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=self._env,
            cwd=self._cwd,
            start_new_session=True,
        )
        self._incoming, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write_stream, self._outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        self._ours = (read_stream, write_stream)
        for work in (self._read(self._process), self._write(self._process), self._listen(self._process)):
            self._tasks.append(asyncio.create_task(work))
        return read_stream, write_stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process is not None
        for stream in (*self._ours, self._incoming, self._outgoing):
            stream.close()
        try:
            await _ended(process)
        finally:
            self._sweep()
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            _close(process)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        with self._incoming, contextlib.suppress(*_CLOSED):
            await self._read_lines(process)
            self.over = True
            self.reason = self.reason or await _end_of(process)
            self._sweep()

    async def _read_lines(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        pending: list[bytes] = []
        held = 0
        while chunk := await process.stdout.read(CHUNK):
            first, *lines = chunk.split(b"\n")
            pending.append(first)
            held += len(first)
            for line in lines:
                await self._deliver(b"".join(pending))
                pending, held = [line], len(line)
            if held > self._longest:
                self.reason = f"it sent a line of more than {self._longest} bytes"
                return

    async def _deliver(self, line: bytes) -> None:
        try:
            table = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(table, dict):
            return
        if "method" in table and "id" not in table and table["method"] not in HEARD:
            return
        found = _message(table)
        if found is None:
            return
        if isinstance(found.message, JSONRPCRequest):
            if self._questions >= MOST_QUESTIONS:
                return
            self._questions += 1
        await self._incoming.send(found)

    async def _write(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        with self._outgoing, contextlib.suppress(*_CLOSED):
            async for sent in self._outgoing:
                text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()
                if isinstance(sent.message, JSONRPCResponse | JSONRPCError):
                    self._questions -= 1

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(CHUNK):
            self._stderr = (self._stderr + chunk)[-STDERR_KEPT:]

    def _sweep(self) -> None:
        """Kill the server if it still lives, and what it has left behind in its session. Once: later the group's number may
        be another's."""
        if not self._swept and self._process is not None:
            self._swept = True
            _signal(self._process, signal.SIGKILL)


def _message(table: dict[str, Any]) -> SessionMessage | None:
    """None for what is no message; for an answer that is none, an error in its place, so that nobody waits for it."""
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_python(table, by_name=False))
    except ValueError:
        number = table.get("id")
    if "method" in table or isinstance(number, bool) or not isinstance(number, int | str):
        return None
    broken = ErrorData(code=UNKNOWN, message="its answer is no JSON-RPC response")
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=broken))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """First it may go by itself, then it is told, then it is killed, with all that it started in its session."""
    assert process.stdin is not None
    process.stdin.close()
    for step in (None, signal.SIGTERM, signal.SIGKILL):
        if step is not None:
            _signal(process, step)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await _exited(process)
                return


async def _exited(process: asyncio.subprocess.Process) -> None:
    """Not `process.wait()`, which also waits for pipes that a child of the server may hold open."""
    while process.returncode is None:  # noqa: ASYNC110 - asyncio tells of it in no other way
        await asyncio.sleep(0.005)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _close(process: asyncio.subprocess.Process) -> None:
    """Nothing public closes the pipes' ends that a survivor holds open; unclosed, they warn at the end."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        with contextlib.suppress(PermissionError):
            transport.close()


async def _end_of(process: asyncio.subprocess.Process) -> str:
    """How a server ended that has closed its output."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            await _exited(process)
    code = process.returncode
    if code is None:
        return "it closed its output"
    return f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"
