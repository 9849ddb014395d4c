"""One MCP server on stdio: started, initialised once, asked by many clients at a time, started again when
it dies."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Coroutine

from trial.gateway import rpc
from trial.gateway.config import ToolServer

PROTOCOL_VERSION = "2025-06-18"
"""What we ask of a server; what it answers is what clients see."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


class ServerGone(Exception):
    """The server can't be started, did not speak MCP, or is gone."""


class ToolChild:
    """Made and used inside one event loop."""

    def __init__(self, name: str, spec: ToolServer, max_message: int) -> None:
        self.name = name
        self.spec = spec
        self._max = max_message
        self._ids = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._pending: dict[int, asyncio.Future[dict[str, object]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        self._stderr: deque[str] = deque(maxlen=20)
        self._pause = 0.0
        self._started = 0.0
        self._closing = False
        self.initialized: dict[str, object] = {}
        """The server's own answer to `initialize`."""

    async def ensure(self) -> None:
        """Start and shake hands unless that is done. Raises ServerGone."""
        async with self._starting:
            if self._process is not None or self._closing:
                return
            if self._pause:
                await asyncio.sleep(self._pause)
            try:
                await asyncio.wait_for(self._start(), self.spec.timeout)
            except (OSError, TimeoutError, ServerGone) as error:
                self._pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, self._pause * 2))
                await self._kill()
                self._report(f"does not start: {error!r}")
                raise ServerGone(f"tool server {self.name} does not start") from None

    async def request(self, method: str, params: dict[str, object]) -> dict[str, object]:
        """`{"result": …}` or `{"error": …}` as the server said, or an error of ours when it is silent. Raises ServerGone."""
        try:
            await self.ensure()
            return await asyncio.wait_for(self._ask(method, params), self.spec.timeout)
        except TimeoutError:
            return rpc.error(rpc.TIMED_OUT, f"tool server {self.name}: no answer in {self.spec.timeout:g} s")

    async def close(self) -> None:
        """End the server: closed stdin, then SIGTERM, then SIGKILL to its whole group."""
        self._closing = True
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 0.5)
            if process.returncode is None:
                _signal_group(process, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 1.0)
        await self._kill()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self) -> None:
        env = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **self.spec.env}
        env.setdefault("HOME", os.environ.get("HOME", "/"))
        self._process = process = await asyncio.create_subprocess_exec(
            *self.spec.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=self.spec.cwd,
            start_new_session=True,
            limit=self._max,
        )
        self._started = asyncio.get_running_loop().time()
        self._spawn(self._read(process))
        self._spawn(self._drain_stderr(process))
        answer = await self._ask(
            "initialize",
            {
                "protocolVersion": PROTOCOL_VERSION,
                "capabilities": {},
                "clientInfo": {"name": "gateway", "version": "1"},
            },
        )
        result = answer.get("result")
        if not isinstance(result, dict):
            raise ServerGone(f"refused to initialize: {answer.get('error')}")
        self.initialized = result
        await self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def _ask(self, method: str, params: dict[str, object]) -> dict[str, object]:
        ident = next(self._ids)
        self._pending[ident] = future = asyncio.get_running_loop().create_future()
        try:
            message: dict[str, object] = {"jsonrpc": "2.0", "id": ident, "method": method}
            await self._send({**message, "params": params} if params else message)
            answer: dict[str, object] = await future
            return answer
        except asyncio.CancelledError:  # timed out, or nobody waits any more
            await self._forget(ident, method)
            raise
        finally:
            self._pending.pop(ident, None)

    async def _forget(self, ident: int, method: str) -> None:
        if method != "initialize":
            params = {"requestId": ident, "reason": "timeout"}
            with contextlib.suppress(ServerGone):
                await self._send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})

    async def _send(self, message: dict[str, object]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            raise ServerGone(f"tool server {self.name} is gone")
        try:
            process.stdin.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
            await process.stdin.drain()
        except (ConnectionError, RuntimeError):
            raise ServerGone(f"tool server {self.name} died") from None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        why = "died"
        try:
            while line := await process.stdout.readline():
                await self._take(line)
        except ValueError:  # a line over the limit can't be skipped safely
            why = f"sent a message over {self._max} bytes"
        except ServerGone:
            pass
        _signal_group(process, signal.SIGKILL)
        await process.wait()
        if self._process is not process and not self._closing:
            return  # given up during its start; its successor's calls are not ours to fail
        self._process = None
        lived = asyncio.get_running_loop().time() - self._started
        self._pause = (
            0.0 if lived > _LONGEST_PAUSE else min(_LONGEST_PAUSE, max(_FIRST_PAUSE, self._pause * 2))
        )
        if not self._closing:
            self._report(why)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(ServerGone(f"tool server {self.name} {why} during the call"))
        if not self._closing and self.initialized:
            self._spawn(self._restart())

    async def _restart(self) -> None:
        with contextlib.suppress(ServerGone):  # the next call tries again and says why
            await self.ensure()

    async def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # servers print banners; only whole messages count
        if not isinstance(message, dict):
            return
        if "method" in message:
            if "id" in message:
                answer = (
                    {"result": {}} if message["method"] == "ping" else rpc.error(-32601, "Method not found")
                )
                await self._send(rpc.reply(message["id"], answer))
            return
        ident = message.get("id")
        future = self._pending.get(ident) if isinstance(ident, int) else None
        if future is not None and not future.done():
            key = "error" if "error" in message else "result"
            future.set_result({key: message.get(key)})

    async def _drain_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(4096):
            self._stderr.extend(chunk.decode("utf-8", "replace").splitlines())

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _signal_group(process, signal.SIGKILL)
            await process.wait()

    def _report(self, what: str) -> None:
        """To the operator, with the server's last words; callers learn only that it is gone."""
        tail = " | ".join(self._stderr)[-500:]
        print(f"gateway: tool server {self.name} {what}: {tail}", file=sys.stderr, flush=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _signal_group(process: asyncio.subprocess.Process, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signum)
