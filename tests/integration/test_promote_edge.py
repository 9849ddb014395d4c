"""Both edges as processes, in front of real services on unix sockets."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from promote_rig import ROOT, Images, Rig, edge_alone, until
from promote_services import OK, Scripted, Tiny, send
from promote_traffic import Traffic

from promote.edge import EmbeddedEdge
from promote.edges import EDGE_MODULES
from promote.gate import Target
from promote.settings import EdgeKind


@pytest.fixture
def rig(tmp_path: Path, edge_kind: EdgeKind) -> Iterator[Rig]:
    with edge_alone(tmp_path, edge_kind) as made:
        yield made


def why(body: bytes) -> str:
    return str(json.loads(body)["error"]["message"])


def test_requests_of_every_kind_of_client_survive_five_swaps(rig: Rig, tmp_path: Path) -> None:
    service = Tiny(tmp_path, 1)
    rig.edge.point_at(service.target)
    rig.edge.release()
    try:
        with Traffic(rig, clients=8, pause=0.0) as traffic:
            for epoch in range(2, 7):
                traffic.reach(20 * (epoch - 1), 60.0)
                rig.edge.hold()
                until(lambda: rig.edge.status().inflight == 0, 60.0)
                service.end()
                service = Tiny(tmp_path, epoch)
                rig.edge.point_at(service.target)
                assert rig.edge.release() > 0
            traffic.reach(101, 60.0)
        assert traffic.lost_or_doubled() == []
        assert {item.status for item in traffic.sent} == {200}
        assert len(traffic.sent) > 100
        marks = [mark for epoch in range(1, 7) for mark in rig.edge.turns(epoch, 0)]
        assert len(marks) == len(traffic.sent)
        assert {mark.status for mark in marks} == {200}
    finally:
        service.end()


def test_an_instance_that_dies_under_requests_costs_none_of_them(rig: Rig, tmp_path: Path) -> None:
    service = Tiny(tmp_path, 1)
    rig.edge.point_at(service.target)
    rig.edge.release()
    try:
        with Traffic(rig, clients=6, pause=0.0) as traffic:
            for epoch in range(2, 5):
                time.sleep(0.2)
                service.end(signal.SIGKILL)
                service = Tiny(tmp_path, epoch)
                rig.edge.point_at(service.target)
            time.sleep(0.2)
        assert traffic.lost_or_doubled() == []
        assert {item.status for item in traffic.sent} == {200}
    finally:
        service.end()


def test_a_request_that_an_instance_fails_again_and_again_grows_old_there(rig: Rig, tmp_path: Path) -> None:
    """Else a service that breaks off every reply is not seen once all its clients wait. Who comes next is not blamed."""
    broken, whole = tmp_path / "broken.sock", tmp_path / "whole.sock"
    first, second = Scripted(broken, lambda *_: None), Scripted(whole, lambda link, _: link.sendall(OK))
    rig.edge.point_at(Target(str(broken), 1, "d"))
    rig.edge.release()
    told: list[int] = []
    asking = threading.Thread(target=lambda: told.append(send(rig, "POST", "/v1/chat/completions", b"{}")[0]))
    asking.start()
    until(lambda: rig.edge.status().oldest_seconds > 1.0, 60.0)
    rig.edge.hold()
    rig.edge.point_at(Target(str(whole), 2, "e"))
    rig.edge.release()
    asking.join()
    assert told == [200]
    (mark,) = until(lambda: rig.edge.turns(2, 0), 60.0)
    assert mark.status == 200
    first.close(broken)
    second.close(whole)


def test_an_edge_that_was_killed_with_its_gate_shut_comes_back_shut(rig: Rig, tmp_path: Path) -> None:
    service = Tiny(tmp_path, 1)
    try:
        rig.edge.point_at(service.target)
        rig.edge.release()
        assert rig.ask("echo a", "s")[0] == 200
        rig.edge.hold()
        assert rig.edge_process is not None
        rig.edge_process.kill()
        rig.edge_process.wait()
        rig.start_edge()
        status = rig.edge.status()
        assert status.held
        assert status.target == service.target
        answers: list[int] = []
        waiting = threading.Thread(target=lambda: answers.append(rig.ask("echo b", "s")[0]))
        waiting.start()
        until(lambda: rig.edge.status().parked == 1, 60.0)
        assert answers == []
        rig.edge.release()
        waiting.join()
        assert answers == [200]
    finally:
        service.end()


def test_health_passes_a_shut_gate(rig: Rig, tmp_path: Path) -> None:
    assert send(rig, "GET", "/healthz")[0] == 503
    service = Tiny(tmp_path, 1)
    try:
        rig.edge.point_at(service.target)
        assert rig.edge.status().held
        assert send(rig, "GET", "/healthz")[0] == 200
        assert json.loads(send(rig, "GET", "/readyz")[2])["epoch"] == 1
    finally:
        service.end()


def test_beyond_the_caps_a_request_is_refused_and_told_when_to_come_back(
    tmp_path: Path, edge_kind: EdgeKind
) -> None:
    rig = Rig(tmp_path / "home", Images(tmp_path / "images"), edge_kind=edge_kind)
    write = rig.write_configs

    def small() -> None:
        write()
        path = rig.home / "edge.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "parked": 2, "hold_seconds": 1.0}))

    rig.write_configs = small  # type: ignore[method-assign]
    rig.start_edge()
    try:
        large = send(rig, "POST", "/v1/chat/completions", b"x" * (65 << 10))
        assert (large[0], large[1]["retry-after"], why(large[2])) == (
            503,
            "1",
            "the body is too large to wait",
        )
        assert len(large[1]["x-request-id"]) in (26, 36)
        answers: list[tuple[int, str]] = []
        reasons: list[str] = []
        started = time.monotonic()

        def ask() -> None:
            status, headers, body = send(rig, "POST", "/v1/chat/completions", b"{}")
            answers.append((status, headers["retry-after"]))
            reasons.append(why(body))

        threads = [threading.Thread(target=ask) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [(503, "1")] * 5
        assert sorted(reasons) == ["too many requests wait"] * 3 + ["waited too long"] * 2
        assert time.monotonic() - started >= 1.0
    finally:
        rig.close()


@pytest.mark.parametrize("said", ["wait=0", "respond-async, wait=0", "wait=0;x=1"])
def test_who_prefers_not_to_wait_is_refused_at_a_shut_gate_and_served_at_an_open_one(
    rig: Rig, tmp_path: Path, said: str
) -> None:
    path = tmp_path / "s.sock"
    service = Scripted(path, lambda link, _: link.sendall(OK))
    rig.edge.point_at(Target(str(path), 1, "sha256:scripted"))
    try:
        rig.edge.hold()
        status, headers, body = send(rig, "POST", "/v1/chat/completions", b"{}", prefer=said)
        assert (status, headers["retry-after"], why(body)) == (503, "1", "waited too long")
        assert service.seen == []
        rig.edge.release()
        assert send(rig, "POST", "/v1/chat/completions", b"{}", prefer=said)[0] == 200
    finally:
        service.close(path)


def test_ids_and_clock_are_stamped_by_the_edge(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    service = Scripted(path, lambda link, _: link.sendall(OK))
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    before = time.time()
    send(rig, "POST", "/v1/chat/completions", b"{}", x_turn_clock="1.0", te="trailers")
    send(rig, "POST", "/v1/chat/completions", b"{}", x_request_id="mine")
    send(rig, "POST", "/v1/chat/completions", b"{}", x_request_id="")
    service.close(path)
    heads = [
        dict(line.split(": ", 1) for line in seen.decode().split("\r\n\r\n")[0].split("\r\n")[1:])
        for seen in service.seen
    ]
    assert len(heads[0]["x-request-id"]) in (26, 36)
    assert before <= float(heads[0]["x-turn-clock"]) <= time.time()
    assert "te" not in heads[0]
    assert heads[1]["x-request-id"] == "mine"
    assert len(heads[2]["x-request-id"]) in (26, 36)
    assert len({head["x-request-id"] for head in heads}) == 3


def test_the_pages_cookies_pass_the_edge_in_neither_direction(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    theirs = b"HTTP/1.1 200 OK\r\nset-cookie: evolve_session=theirs\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\n{}"
    service = Scripted(path, lambda link, _: link.sendall(theirs))
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)) as link:
        for cookies in ("one=1; evolve_session=secret;two=2", " Evolve_session=secret"):
            link.request("POST", "/v1/chat/completions", b"{}", {"cookie": cookies})
            reply = link.getresponse()
            assert reply.read() == b"{}"
            assert reply.headers.get_all("set-cookie") == ["a=b"]
    service.close(path)
    assert b"cookie: one=1; two=2\r\n" in service.seen[0]
    assert not any(b"secret" in seen for seen in service.seen)


def test_a_reply_that_comes_in_pieces_is_waited_for_and_asked_for_once(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    def answer(link: socket.socket, _: bytes) -> None:
        for piece in (OK[:20], OK[20:-1], OK[-1:]):
            link.sendall(piece)
            time.sleep(0.2)

    service = Scripted(path, answer)
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    status, _, body = send(rig, "POST", "/v1/chat/completions", b"{}")
    service.close(path)
    assert (status, body, len(service.seen)) == (200, b"{}", 1)


def test_a_reply_cut_before_its_end_is_asked_for_again_with_the_same_id(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    cuts = [OK[:-1], OK[:20], b""]

    def answer(link: socket.socket, _: bytes) -> None:
        link.sendall(cuts.pop() if cuts else OK)

    service = Scripted(path, answer)
    rig.edge.point_at(Target(str(path), 7, "d"))
    rig.edge.release()
    assert send(rig, "POST", "/v1/chat/completions", b"{}")[0] == 200
    service.close(path)
    ids = {line for seen in service.seen for line in seen.split(b"\r\n") if line.startswith(b"x-request-id")}
    assert len(service.seen) == 4
    assert len(ids) == 1
    assert [mark.status for mark in rig.edge.turns(7, 0)] == [0, 200]


@pytest.mark.parametrize(
    "garbage",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_400_and_nothing_else_breaks(rig: Rig, garbage: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", rig.port), timeout=10)) as link:
        link.sendall(garbage)
        assert link.recv(100).startswith(b"HTTP/1.1 400")
    with closing(socket.create_connection(("127.0.0.1", rig.port), timeout=10)) as link:
        link.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
    assert rig.edge.status().parked == 0


def test_a_wrong_configuration_is_one_line(rig: Rig, tmp_path: Path) -> None:
    def run(**changes: object) -> tuple[int, str]:
        path = tmp_path / "edge.json"
        base = {"port": 0, "control": str(tmp_path / "c.sock"), "state_file": str(tmp_path / "s.json")}
        path.write_text(json.dumps({**base, **changes}))
        argv = [sys.executable, "-m", EDGE_MODULES[rig.edge_kind], "--config", str(path)]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stderr

    code, words = run(host="0.0.0.0")
    assert (code, len(words.splitlines())) == (2, 1)
    assert "loopback" in words
    code, words = run(port=rig.port)
    assert (code, len(words.splitlines())) == (5, 1)
    assert "in use" in words
    code, words = run(colour="red")
    assert (code, len(words.splitlines())) == (2, 1)
    assert "colour" in words
    code, words = run(turn_paths=["/a\nbackend b"])
    assert (code, len(words.splitlines())) == (2, 1)
    assert "turn_paths" in words


@pytest.mark.parametrize("edge_kind", ["embedded"], indirect=True)
def test_the_control_socket_answers_nonsense_with_an_error(rig: Rig) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as link:
        link.connect(str(rig.home / "run" / "edge.sock"))
        for line in (b"nonsense\n", b'{"op": "explode"}\n', b'{"op": "point_at", "x": 1}\n', b"[]\n"):
            link.sendall(line)
            assert "error" in json.loads(link.recv(4096))
    assert EmbeddedEdge(rig.home / "run" / "edge.sock").status().port == rig.port
    assert rig.edge.turns(99, 0) == []
