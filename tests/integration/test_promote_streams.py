"""Streams and large requests whose instance goes away, through both edges."""

import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from promote_clients import Stream, text_of
from promote_rig import Images, Rig, edge_alone, export_tiny, rig_in, until
from promote_services import OK, Scripted, Tiny, send
from promote_traffic import Traffic

from promote.gate import Target
from promote.settings import EdgeKind


@pytest.fixture
def rig(tmp_path: Path, edge_kind: EdgeKind) -> Iterator[Rig]:
    with edge_alone(tmp_path, edge_kind) as made:
        yield made


@pytest.mark.parametrize("edge_kind", ["embedded"], indirect=True)
def test_a_stream_that_was_cut_goes_on_where_it_stopped(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    answers = [head + b"5\r\nfir", head + b"5\r\nfirst\r\n", b"", head + b"a\r\nfirst then\r\n0\r\n\r\n"]
    service = Scripted(path, lambda link, _: link.sendall(answers.pop(0)))
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    status, _, body = send(rig, "POST", "/v1/chat/completions", b"{}")
    service.close(path)
    assert (status, body) == (200, b"first then")
    ids = {line for seen in service.seen for line in seen.split(b"\r\n") if line.startswith(b"x-request-id")}
    assert len(ids) == 1


def test_a_stream_that_goes_on_with_other_words_is_seen_to_be_cut(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    answers = [head + b"5\r\nfirst\r\n", head + b"5\r\nother\r\n0\r\n\r\n"]
    service = Scripted(path, lambda link, _: link.sendall(answers.pop(0)))
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    with pytest.raises(http.client.IncompleteRead):
        send(rig, "POST", "/v1/chat/completions", b"{}")
    service.close(path)


def test_a_stream_is_passed_on_as_it_comes_and_a_cut_one_is_seen_to_be_cut(rig: Rig, tmp_path: Path) -> None:
    path, more = tmp_path / "s.sock", threading.Event()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    def answer(link: socket.socket, _: bytes) -> None:
        link.sendall(head + b"5\r\nfirst\r\n")
        more.wait(20)

    service = Scripted(path, answer)
    rig.edge.point_at(Target(str(path), 1, "d"))
    rig.edge.release()
    with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)) as link:
        link.request("POST", "/v1/chat/completions", b"{}")
        reply = link.getresponse()
        assert reply.read1(100) == b"first"
        assert rig.edge.status().inflight == 1
        more.set()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            reply.read()
    service.close(path)
    assert [mark.status for mark in rig.edge.turns(1, 0)] == [0]


def test_a_stream_whose_service_is_killed_goes_on_behind_its_last_event(rig: Rig, tmp_path: Path) -> None:
    """By itself through the embedded edge; HAProxy's client sees the cut and asks again. So with the rest of a stream."""
    words, tree = "x" * 100, tmp_path / "tree"
    export_tiny(tree, "slow_stream")
    service = Tiny(tmp_path, 1, tree)
    rig.edge.point_at(service.target)
    rig.edge.release()
    stream = Stream(f"echo {words}", "s", "one")
    try:
        for epoch in (2, 3):
            with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)) as link:
                events = stream.events(stream.begin(link))
                assert [next(events), next(events)] == stream.got[-2:]
                service.end(signal.SIGKILL)
                service = Tiny(tmp_path, epoch, tree)
                rig.edge.point_at(service.target)
                if rig.edge_kind == "haproxy":
                    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                        list(events)
                    assert not stream.ended
                else:
                    assert next(events) == stream.got[-1]
        with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)) as link:
            assert stream.read(link)[0] == 200
            assert text_of(stream.reply()) == words
            link.request("GET", "/v1/sessions/s")
            assert json.loads(link.getresponse().read())["applied"] == ["one"]
    finally:
        service.end()


def test_streams_that_outlast_the_drain_are_read_on_from_the_new_image(
    tmp_path: Path, edge_kind: EdgeKind
) -> None:
    timing = {"drain_seconds": 0.05, "stop_grace": 0.05}
    long = Stream(f"echo {'x' * 6400}", "long", "long")  # two minutes on the old image, if it was left alone
    with rig_in(tmp_path / "rig", Images(tmp_path / "images"), edge_kind=edge_kind, timing=timing) as rig:

        def read() -> None:
            while not long.ended:
                link = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=65)
                with closing(link), suppress(http.client.IncompleteRead, ConnectionError):
                    long.read(link)

        rig.install("slow_stream")
        with Traffic(rig, clients=16, pause=0.05) as traffic:
            reader = threading.Thread(target=read)
            reader.start()
            until(lambda: bool(long.got), 60.0)
            record = rig.finish(rig.promote("good"))
            reader.join()
        assert record.state == "committed", record.reason
        assert traffic.lost_or_doubled() == []
        assert {item.status for item in traffic.sent} == {200}
        assert text_of(long.reply()) == "x" * 6400
        assert long.begun == (2 if edge_kind == "haproxy" else 1)


def test_a_large_request_whose_instance_vanishes_has_one_effect_under_the_id_that_its_client_is_told(
    rig: Rig, tmp_path: Path
) -> None:
    """It took effect. The embedded edge asks again by itself; HAProxy can't keep it, and says so."""
    tree = tmp_path / "tree"
    export_tiny(tree, "late_death")
    service = Tiny(tmp_path, 1, tree)
    rig.edge.point_at(service.target)
    rig.edge.release()
    said = {"messages": [{"role": "user", "content": "echo a"}], "pad": "x" * (100 << 10)}
    large = json.dumps(said).encode()
    answers: list[tuple[int, http.client.HTTPMessage, bytes]] = []

    def ask(**headers: str) -> None:
        answers.append(send(rig, "POST", "/v1/chat/completions", large, x_session="s", **headers))

    try:
        for _ in range(8):
            assert rig.ask("echo a", "s")[0] == 200
        asking = threading.Thread(target=ask)
        asking.start()
        assert service.process.wait(20) == 9
        service = Tiny(tmp_path, 2)
        rig.edge.point_at(service.target)
        asking.join()
        status, headers, body = answers.pop()
        if rig.edge_kind == "haproxy":
            assert (status, headers["retry-after"]) == (503, "1")
            assert "may have taken effect" in json.loads(body)["error"]["message"]
            ask(x_request_id=headers["x-request-id"])
            status, headers, body = answers.pop()
        assert (status, json.loads(body)["applied"]["count"]) == (200, 9)
        applied = json.loads(send(rig, "GET", "/v1/sessions/s")[2])["applied"]
        assert len(applied) == len(set(applied)) == 9
        assert applied[-1] == headers["x-request-id"]
    finally:
        service.end()


def test_what_waited_too_long_behind_a_dead_instance_may_have_taken_effect_and_is_told_so(
    tmp_path: Path, edge_kind: EdgeKind
) -> None:
    rig = Rig(tmp_path / "home", Images(tmp_path / "images"), edge_kind=edge_kind, hold_seconds=1.0)
    rig.start_edge()
    path, answers = tmp_path / "s.sock", [OK[:20]]
    service = Scripted(path, lambda link, _: rig.edge.hold() or link.sendall(answers.pop()))
    try:
        rig.edge.point_at(Target(str(path), 1, "d"))
        rig.edge.release()
        status, headers, body = send(rig, "POST", "/v1/chat/completions", b"{}", x_request_id="mine")
        assert (status, headers["retry-after"], headers["x-request-id"]) == (503, "1", "mine")
        assert "may have taken effect" in json.loads(body)["error"]["message"]
        status, headers, body = send(rig, "POST", "/v1/chat/completions", b"{}", x_request_id="other")
        assert (status, headers["retry-after"], headers["x-request-id"]) == (503, "1", "other")
        assert json.loads(body)["error"]["message"] == "waited too long"
    finally:
        service.close(path)
        rig.close()


def test_an_upgrade_is_refused_and_its_connection_goes_on(rig: Rig, tmp_path: Path) -> None:
    """WebSocket's with 501, at once, also at a shut gate; others are asked without, as their clients must expect."""
    path = tmp_path / "s.sock"
    service = Scripted(path, lambda link, _: link.sendall(OK))
    rig.edge.point_at(Target(str(path), 1, "d"))
    socketed = {"sec-websocket-version": "13", "sec-websocket-key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="}
    with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)) as link:
        for protocols in ("websocket", "WebSocket", "h2c, websocket"):
            headers = {"connection": "Upgrade", "upgrade": protocols, **socketed}
            link.request("GET", "/v1/chat/completions", headers=headers)
            reply = link.getresponse()
            assert reply.status == 501
            assert "WebSocket" in json.loads(reply.read())["error"]["message"]
            assert rig.edge.status().parked == 0
        rig.edge.release()
        own = link.sock
        link.request("POST", "/x", b"{}", {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"})
        reply = link.getresponse()
        assert (reply.status, reply.read()) == (200, b"{}")
        assert link.sock is own
    service.close(path)
    assert len(service.seen) == 1
    assert b"upgrade" not in service.seen[0].lower()
