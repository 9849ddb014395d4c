"""A loopback port inside that leads to a unix socket, for clients that can't speak to one. It runs as the same user as
what it serves, holds nothing, and ends with the sandbox; whoever kills it inside has cut off nobody but itself."""

from __future__ import annotations

import os
import signal
import socket
import threading

from .boot import EXIT_BROKEN, close_strangers, die

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from typing import NoReturn

AT_A_TIME = 64
CHUNK = 65536


def start(ports: dict[str, str]) -> None:
    """Listen before anything else runs, then leave the work to a child. `ports`: port -> path of a unix socket."""
    listeners = []
    for port, path in ports.items():
        try:
            listeners.append((socket.create_server(("127.0.0.1", int(port)), backlog=AT_A_TIME), path))
        except OSError as error:
            die(f"cannot listen on port {port}: {error.strerror}", EXIT_BROKEN)
    if os.fork() == 0:
        _serve(listeners)
    for listener, _ in listeners:
        listener.close()


def _serve(listeners: list[tuple[socket.socket, str]]) -> NoReturn:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        close_strangers({listener.fileno() for listener, _ in listeners})
        threads = [threading.Thread(target=_accept, args=pair) for pair in listeners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os._exit(0)


def _accept(listener: socket.socket, path: str) -> None:
    room = threading.Semaphore(AT_A_TIME)
    while True:
        room.acquire()
        client, _ = listener.accept()
        threading.Thread(target=_connect, args=(client, path, room)).start()


def _connect(client: socket.socket, path: str, room: threading.Semaphore) -> None:
    with client, socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
            answers = threading.Thread(target=_copy, args=(server, client))
            answers.start()
            _copy(client, server)
            answers.join()
        except (OSError, RuntimeError):  # nobody there, or no thread left
            pass
        finally:
            room.release()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the end of `source`, which is passed on."""
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
