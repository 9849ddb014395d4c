"""Five hundred turns wait at a shut gate for as long as it takes, through both edges, and cost little while they do."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from promote_rig import Rig, edge_alone, until
from promote_services import Tiny, send

from promote.settings import EdgeKind

CLIENTS = 500
MEMORY = 64 << 10
"""Of the edge, for one request that waits, beside its body."""


@pytest.fixture
def rig(tmp_path: Path, edge_kind: EdgeKind) -> Iterator[Rig]:
    with edge_alone(tmp_path, edge_kind) as made:
        yield made


def resident(rig: Rig) -> int:
    assert rig.edge_process is not None
    status = Path(f"/proc/{rig.edge_process.pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS"))


async def ask(rig: Rig, session: str, request_id: str, pad: int) -> tuple[int, int]:
    """Status, and how many turns the session has had."""
    said = {"messages": [{"role": "user", "content": "echo a"}], "pad": "x" * pad}
    body = json.dumps(said).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
        f"x-session: {session}\r\nx-request-id: {request_id}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(head.encode() + body)
    reply, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(reply.split()[1]), int(json.loads(answer)["applied"]["count"])


async def hold(rig: Rig, seconds: float, turn: int, pad: int) -> tuple[Sequence[tuple[int, int]], int]:
    """What everybody was answered, and the edge's memory while all wait."""
    rig.edge.hold()
    waiting = [asyncio.create_task(ask(rig, f"s{n}", f"s{n}-{turn}", pad)) for n in range(CLIENTS)]
    await asyncio.to_thread(until, lambda: rig.edge.status().parked == CLIENTS, 60.0)
    memory = resident(rig)
    await asyncio.sleep(seconds)
    assert not any(task.done() for task in waiting)
    await asyncio.to_thread(rig.edge.release)
    return await asyncio.gather(*waiting), memory


@pytest.mark.parametrize(
    ("holds", "pad"),
    [
        pytest.param((0.1, 1.0, 5.0), 1 << 10, id="short"),
        pytest.param((30.0,), 60 << 10, id="long", marks=pytest.mark.soak),
    ],
)
def test_five_hundred_wait_and_each_has_its_answer(
    rig: Rig, tmp_path: Path, holds: tuple[float, ...], pad: int
) -> None:
    service = Tiny(tmp_path, 1)
    rig.edge.point_at(service.target)
    try:
        start = resident(rig)
        for turn, seconds in enumerate(holds, start=1):
            answers, memory = asyncio.run(asyncio.wait_for(hold(rig, seconds, turn, pad), 240))
            assert set(answers) == {(200, turn)}
            if turn == 1:  # later ones find memory that was left
                each = (memory - start) // CLIENTS
                print(f"{rig.edge_kind}: {each} bytes for each that waits, its body of {pad} included")
                assert each < MEMORY + pad
        status = rig.edge.status()
        assert (status.parked, status.inflight) == (0, 0)
        for n in range(CLIENTS):
            applied = json.loads(send(rig, "GET", f"/v1/sessions/s{n}")[2])["applied"]
            assert applied == [f"s{n}-{turn}" for turn in range(1, len(holds) + 1)]
        failed = [mark for mark in rig.edge.turns(1, 0) if mark.status != 200]
        assert failed == [], "so many at once that the service's socket was full: no failure of a new image"
    finally:
        service.end()
