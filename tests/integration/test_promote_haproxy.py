"""What only HAProxy as the edge must show: its two passes, its counts, its restarts. The rest is test_promote_edge.py."""

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import socket
import stat
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from promote_rig import Images, Rig, edge_alone, require_haproxy, rig_in, until
from promote_services import OK, Scripted, Tiny, send
from promote_traffic import Traffic

from promote.gate import GateState, Target
from promote.haproxy_files import point

TURN = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"
MEMORY = 256 << 20


@pytest.fixture(autouse=True)
def _haproxy() -> None:
    require_haproxy()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with edge_alone(tmp_path, "haproxy") as made:
        yield made


def reset(link: socket.socket) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def kill(rig: Rig) -> None:
    assert rig.edge_process is not None
    rig.edge_process.send_signal(signal.SIGKILL)
    rig.edge_process.wait()


def test_only_its_owner_may_speak_to_it(rig: Rig) -> None:
    for path in (rig.home / "run" / "edge.sock", rig.edge_state.parent / "gate.sock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_requests_of_clients_that_went_away_wait_like_all_others_and_do_not_stay_counted(
    rig: Rig, tmp_path: Path
) -> None:
    path, answering = tmp_path / "s.sock", threading.Event()

    def answer(link: socket.socket, _: bytes) -> None:
        answering.wait(120)
        link.sendall(OK)

    service = Scripted(path, answer)
    rig.edge.point_at(Target(str(path), 1, "d"))
    links = [socket.create_connection(("127.0.0.1", rig.port)) for _ in range(20)]
    for link in links:
        link.sendall(TURN)
    until(lambda: rig.edge.status().parked == 20, 60.0)
    for number, link in enumerate(links):
        reset(link) if number % 2 else link.close()
    time.sleep(0.3)
    assert service.seen == []
    rig.edge.release()
    until(lambda: rig.edge.status().parked == 0, 60.0)
    with closing(socket.create_connection(("127.0.0.1", rig.port), timeout=20)) as link:
        link.sendall(TURN)
        until(lambda: rig.edge.status().inflight > 0, 60.0)
        reset(link)
    answering.set()
    until(lambda: rig.edge.status().inflight == 0, 60.0)
    assert rig.edge.status().oldest_seconds == 0
    until(
        lambda: len(service.seen) == 21, 20.0
    )  # those that HAProxy gave up may still be in the service's backlog
    service.close(path)


def test_a_client_opens_no_tunnel_and_does_not_speak_for_the_first_pass(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    service = Scripted(path, lambda link, _: link.sendall(OK))
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    upgrade = b"connection: upgrade\r\nupgrade: h2c\r\n"
    for request, status in (
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (
            b"GET /x HTTP/1.1\r\nhost: a\r\nx-edge-left: 9\r\nx-edge-request: 9\r\n" + upgrade + b"\r\n",
            b"200",
        ),
    ):
        with closing(socket.create_connection(("127.0.0.1", rig.port), timeout=10)) as link:
            link.sendall(request)
            assert link.recv(100).split(b" ")[1] == status
    service.close(path)
    assert len(service.seen) == 1
    assert b"upgrade" not in service.seen[0]
    assert b"x-edge" not in service.seen[0]


def test_no_cookie_can_stop_the_one_thread(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    service = Scripted(path, lambda link, _: link.sendall(OK))
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    cookie = "evolve_a=b; c=" + " " * 40_000 + "d" + " " * 40_000 + "; e=f"
    assert send(rig, "GET", "/x", cookie=cookie)[0] == 200
    service.close(path)
    assert b"cookie: c= " in service.seen[0]


def test_clients_that_break_off_anywhere_before_a_service_that_does_leave_all_counts_at_nothing(
    rig: Rig, tmp_path: Path
) -> None:
    """And who stays until the end has an answer: the service breaks a third of its replies, in three ways."""
    path, dice = tmp_path / "s.sock", random.Random(1)
    replies = (b"", OK[:20], OK[:-1], *(OK,) * 6)

    def answer(link: socket.socket, _: bytes) -> None:
        time.sleep(dice.random() / 100)
        with contextlib.suppress(OSError):
            link.sendall(dice.choice(replies))

    service = Scripted(path, answer)
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    stayed: list[bytes] = []

    def come(number: int) -> None:
        mine = random.Random(number)
        for _ in range(20):
            with closing(socket.create_connection(("127.0.0.1", rig.port), timeout=60)) as link:
                kind = mine.choice(("part", "reset", "close", "half", "stay"))
                link.sendall(TURN[: mine.randrange(len(TURN))] if kind == "part" else TURN)
                if kind in ("half", "stay"):
                    if kind == "half":
                        link.shutdown(socket.SHUT_WR)
                    stayed.append(link.recv(4096).split(b" ")[1])
                    continue
                time.sleep(mine.random() / 50)
                if kind != "close":
                    reset(link)

    clients = [threading.Thread(target=come, args=(number,)) for number in range(20)]
    for client in clients:
        client.start()
    for _ in range(10):
        rig.edge.hold()
        time.sleep(0.05)
        rig.edge.release()
        time.sleep(0.05)
    for client in clients:
        client.join()
    until(lambda: (rig.edge.status().inflight, rig.edge.status().parked) == (0, 0), 60.0)
    service.close(path)
    assert set(stayed) == {b"200"}
    assert len(stayed) > 100


def test_a_service_that_dies_while_the_gate_is_shut_leaves_nothing_in_flight(
    rig: Rig, tmp_path: Path
) -> None:
    """Else a drain would wait for requests that nobody will answer."""
    path, dying = tmp_path / "s.sock", threading.Event()
    answers = [OK]
    service = Scripted(
        path, lambda link, _: link.sendall(answers.pop()) if dying.wait(20) and answers else None
    )
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    told: list[int] = []
    asking = threading.Thread(target=lambda: told.append(send(rig, "POST", "/v1/chat/completions", b"{}")[0]))
    answers.clear()
    asking.start()
    until(lambda: rig.edge.status().inflight == 1, 60.0)
    rig.edge.hold()
    dying.set()
    until(lambda: (rig.edge.status().inflight, rig.edge.status().parked) == (0, 1), 60.0)
    answers.append(OK)
    rig.edge.point_at(Target(str(path), 2, "d"))
    rig.edge.release()
    asking.join()
    service.close(path)
    assert told == [200]
    assert [mark.status for epoch in (1, 2) for mark in rig.edge.turns(epoch, 0)] == [0, 200]


def test_a_service_cant_have_a_request_sent_again_without_end(tmp_path: Path) -> None:
    """425 is how the second pass tells the first to try again; from a service it is no answer."""
    rig = Rig(tmp_path / "home", Images(tmp_path / "images"), edge_kind="haproxy", hold_seconds=0.5)
    rig.start_edge()
    path = tmp_path / "s.sock"
    service = Scripted(path, lambda link, _: link.sendall(b"HTTP/1.1 425 Early\r\ncontent-length: 0\r\n\r\n"))
    try:
        rig.edge.point_at(Target(str(path), 1, "d"))
        rig.edge.release()
        status, headers, _ = send(rig, "POST", "/v1/chat/completions", b"{}")
        assert (status, headers["retry-after"]) == (503, "1")
        assert 2 <= len(service.seen) <= 26
        assert [mark.status for mark in rig.edge.turns(1, 0)] == [0]
    finally:
        service.close(path)
        rig.close()


def test_a_target_that_haproxy_was_not_told_of_is_no_target(rig: Rig, tmp_path: Path) -> None:
    """A promoter that was killed between the file and HAProxy points again."""
    old, new = Target("/old/agent.sock", 1, "d"), Target("/new/agent.sock", 2, "e")
    rig.edge.point_at(old)
    state = GateState.load(rig.edge_state)
    state.target = new
    state.save(rig.edge_state)
    assert rig.edge.status().target is None
    kill(rig)
    (rig.edge_state.parent / "live.sock").unlink()
    rig.start_edge()
    assert rig.edge.status().target == new
    assert os.readlink(rig.edge_state.parent / "live.sock") == new.socket


def test_the_link_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for epoch in (1, 2, 2):
        point(tmp_path, Target(f"/run/agent-{epoch}/agent.sock", epoch, "d"))
        assert os.readlink(tmp_path / "live.sock") == f"/run/agent-{epoch}/agent.sock"
    assert os.listdir(tmp_path) == ["live.sock"]


def test_five_thousand_arrivals_during_a_hold(rig: Rig, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    service = Tiny(tmp_path, 1)
    text = json.dumps({"messages": [{"role": "user", "content": "echo a"}], "pad": "x" * (60 << 10)}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(text)
    told: Counter[bytes] = Counter()
    refused = asyncio.Event()

    async def come() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(head)
        writer.write(text)
        reply = await reader.readuntil(b"\r\n\r\n")
        status = reply.split(b" ")[1]
        told[status] += 1
        if told[b"503"] == 4000:
            refused.set()
        assert status == b"200" or b"retry-after: 1" in reply.lower()
        writer.close()

    async def storm() -> None:
        arrivals = [asyncio.create_task(come()) for _ in range(5000)]
        await refused.wait()
        assert await asyncio.to_thread(lambda: rig.edge.status().parked) == 1000
        await asyncio.to_thread(rig.edge.release)
        await asyncio.gather(*arrivals)

    try:
        rig.edge.point_at(service.target)
        asyncio.run(asyncio.wait_for(storm(), 240))
        assert told == {b"200": 1000, b"503": 4000}
        assert rig.edge_process is not None
        found = Path(f"/proc/{rig.edge_process.pid}/status").read_text()
        peak = next(int(line.split()[1]) << 10 for line in found.splitlines() if line.startswith("VmHWM"))
        print(f"HAProxy's peak memory: {peak >> 20} MiB")
        assert peak < MEMORY
        assert (rig.edge.status().inflight, rig.edge.status().parked) == (0, 0)
        assert len(rig.edge.turns(1, 0)) >= 1000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        service.end()


def test_swaps_and_rollbacks_go_through_haproxy_and_lose_nothing(tmp_path: Path) -> None:
    images = Images(tmp_path / "images")
    with rig_in(tmp_path / "rig", images, edge_kind="haproxy") as rig:
        rig.install()
        with Traffic(rig) as traffic:
            for kind, end in (
                ("good", "committed"),
                ("late_bad", "rolled_back"),
                ("late_death", "rolled_back"),
            ):
                record = rig.finish(rig.promote(kind, bake_turns=40))
                assert record.state == end, record.reason
        assert rig.live_image() == images.digest("good")
        assert traffic.lost_or_doubled() == []
        assert {item.status for item in traffic.sent} <= {200, 500}
