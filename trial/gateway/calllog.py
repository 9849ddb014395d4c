"""The gateway's own log: one JSON object a line, on disk before the caller sees the answer.

When the disk refuses, answers that were already obtained are kept in memory, new calls are refused, and
writing is tried again until it works: nothing that happened goes unrecorded, and nothing new happens
meanwhile.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from evidence.canonical import canonical_json

RETRY_SECONDS = 0.25


class LogBusy(Exception):
    """Another gateway writes this log."""


class CallLog:
    """Append-only file with group commit. Made and used inside one event loop."""

    def __init__(self, path: Path, wait: float) -> None:
        self._wait = wait
        self._pending: list[tuple[bytes, float, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise LogBusy(f"{path}: another gateway writes this log") from None
        self.next_order = _next_order(path)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")  # a kill tore the last line; close it so that the next one stands alone

    async def append(self, record: dict[str, object]) -> None:
        """Returns when the record is on disk, or after `wait` seconds with the record still queued."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((canonical_json(record) + b"\n", time.monotonic(), done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(done), self._wait)

    def refusal(self) -> str | None:
        """Why no new call may start now, or None."""
        if self._trouble is not None:
            return f"calls can't be recorded: {self._trouble}"
        if self._pending and time.monotonic() - self._pending[0][1] > self._wait:
            return "calls can't be recorded: the disk is too slow"
        return None

    async def close(self, grace: float = 5.0) -> int:
        """Flush and close; the number of records that could not be written within `grace` seconds."""
        if self._flusher is not None and not self._flusher.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._flusher, grace)
        for _, _, done in self._pending:
            done.cancel()
        os.close(self._fd)
        return len(self._pending)

    async def _flush(self) -> None:
        while self._pending:
            batch = list(self._pending)
            try:
                await asyncio.to_thread(self._write, b"".join(line for line, _, _ in batch))
            except OSError as error:
                self._trouble = error.strerror or str(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._trouble = None
            del self._pending[: len(batch)]
            for _, _, done in batch:
                if not done.done():
                    done.set_result(None)

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._fd).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, size)  # half a batch would be read as a torn line
            raise


def _next_order(path: Path) -> int:
    """One more than the newest `end_order`, so that orders go on rising over restarts."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        while end > 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            tail = file.read(end - start) + tail
            end = start
            lines = tail.split(b"\n")
            for line in reversed(lines[1:] if start else lines):
                order = _end_order(line)
                if order is not None:
                    return order + 1
    return 0


def _end_order(line: bytes) -> int | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    order = value.get("end_order") if isinstance(value, dict) else None
    return order if isinstance(order, int) else None
