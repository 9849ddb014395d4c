"""Whatever stands behind a reply on its connection is seen, and a service that behaves is not accused."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evidence.cases import RecordedTurn
from trial.turns import ReplayedTurn, Stop, send_turn

TURN = RecordedTurn(request_id="r1", session="s", path="/", body={})
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
WHOLE = JSON + b"content-length: 2\r\n\r\n{}"
CHUNKED = JSON + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
CLOSING = JSON + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"


@contextmanager
def answering(path: Path, *pieces: bytes, closes: bool, reads: bool = True) -> Iterator[Path]:
    """A service that answers one request with these writes, and then closes or holds the connection. `reads`: all of it
    before."""
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked = b""
                while not asked.endswith(
                    b"{}" if reads else b""
                ):  # what is left unread would reset the connection
                    asked += connection.recv(1 << 16)
                for piece in pieces:
                    connection.sendall(piece)
                if not closes:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            done.set()
            thread.join()


def sent(path: Path, *pieces: bytes, closes: bool) -> ReplayedTurn:
    with answering(path, *pieces, closes=closes) as agent:
        return send_turn(agent, TURN, "x-request-id", 10.0, Stop())


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("reply", [WHOLE, CHUNKED, CLOSING], ids=["length", "chunks", "close"])
@pytest.mark.parametrize(
    "more", [b"", b"\n", WHOLE, b"x" * 100_000], ids=["nothing", "newline", "reply", "much"]
)
def test_bytes_behind_a_reply_are_seen(tmp_path: Path, reply: bytes, more: bytes, closes: bool) -> None:
    turn = sent(tmp_path / "s", reply + more, closes=closes)
    assert (turn.status, turn.reply, turn.followed) == (200, {}, bool(more))


def test_they_are_seen_when_they_come_by_themselves(tmp_path: Path) -> None:
    assert any(sent(tmp_path / f"s{i}", WHOLE, WHOLE, closes=False).followed for i in range(5))


def test_a_reply_that_ends_with_its_connection_has_nothing_behind_it(tmp_path: Path) -> None:
    turn = sent(tmp_path / "s", JSON + b"\r\n{}", closes=True)
    assert (turn.status, turn.reply, turn.followed) == (200, {}, False)


def test_who_answers_before_it_has_read_all_is_heard(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    long = TURN.model_copy(update={"body": {"text": "x" * 4_000_000}})
    with answering(tmp_path / "s", refusal, closes=True, reads=False) as agent:
        assert send_turn(agent, long, "x-request-id", 10.0, Stop()).status == 413


def test_who_hangs_up_in_the_middle_of_a_request_has_not_answered(tmp_path: Path) -> None:
    long = TURN.model_copy(update={"body": {"text": "x" * 4_000_000}})
    with answering(tmp_path / "s", closes=True, reads=False) as agent:
        assert send_turn(agent, long, "x-request-id", 10.0, Stop()).status is None
