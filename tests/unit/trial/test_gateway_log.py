"""The log of calls: every record whole, one writer, and no silence when the disk refuses."""

import asyncio
import json
import resource
import signal
from pathlib import Path

import pytest

from trial.gateway.calllog import CallLog, LogBusy


def test_records_written_at_once_are_all_there_and_orders_go_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "calls.jsonl"

    async def write() -> None:
        log = CallLog(path, wait=5)
        await asyncio.gather(*(log.append({"end_order": n, "text": "x" * 5000}) for n in range(100)))
        assert await log.close() == 0

    asyncio.run(write())
    assert [json.loads(line)["end_order"] for line in path.read_text().splitlines()] == list(range(100))
    with path.open("a") as file:
        file.write('{"catalog": {}}\n{"torn": "' + "y" * 100_000)
    log = CallLog(path, wait=5)
    assert log.next_order == 100
    assert path.read_bytes().endswith(b"y\n")
    with pytest.raises(LogBusy):
        CallLog(path, wait=5)
    asyncio.run(log.close())


def test_a_refusing_disk_refuses_new_calls_and_keeps_the_old_ones(tmp_path: Path) -> None:
    """A real refusal by the kernel: the file size limit of this process."""
    path = tmp_path / "calls.jsonl"

    async def scenario() -> None:
        log = CallLog(path, wait=1)
        await log.append({"end_order": 0})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
        try:
            await log.append({"end_order": 1, "text": "x" * 100})
            assert "can't be recorded: File too large" in (log.refusal() or "")
            assert path.read_text().count("\n") == 1, "no half line is left"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await log.append({"end_order": 2})
        assert log.refusal() is None
        assert await log.close() == 0

    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        asyncio.run(scenario())
    finally:
        signal.signal(signal.SIGXFSZ, previous)
    assert [json.loads(line)["end_order"] for line in path.read_text().splitlines()] == [0, 1, 2]


def test_what_can_t_be_written_at_the_end_is_counted(tmp_path: Path) -> None:
    async def scenario() -> int:
        log = CallLog(tmp_path / "calls.jsonl", wait=0.05)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            await log.append({"end_order": 1})
            return await log.close(grace=0.1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        assert asyncio.run(scenario()) == 1
    finally:
        signal.signal(signal.SIGXFSZ, previous)
